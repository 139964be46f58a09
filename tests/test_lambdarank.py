"""What is measured beside LightGBM: whole queries, held out once each, and quoted as recorded."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.lambdarank import FOLDS, OURS, RECORD, folds, load, ndcg, ridge, table

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_quotes_the_record():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert len(record["seeds"]) == 5
    names = ["ridge, alpha 100", "LightGBM, lambdarank, 100 trees"]
    names += [f"configs/{name}.yaml" for name in OURS]
    shown = table({name: record["ndcg"][name] for name in names})
    assert shown in (ROOT / "docs/ranking.md").read_text(encoding="utf-8")


def test_each_query_is_held_out_once_and_never_learned_from_then():
    group = torch.arange(23).repeat_interleave(torch.arange(1, 24))
    x = group[:, None].float()
    seen = []
    for train, held_out in folds((x, x[:, 0], group)):
        for items in (train, held_out):
            assert torch.equal(items[2].unique(), torch.arange(int(items[2].max()) + 1))
        queries = set(held_out[1].tolist())
        assert not queries & set(train[1].tolist())
        assert len(held_out[1]) == sum(int(query) + 1 for query in queries)
        seen += queries
    assert len(seen) == len(set(seen)) == 23
    assert FOLDS == 5


def test_ridge_is_what_it_was_seen_to_be(shared_data):
    folder = shared_data / "lambdarank"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist")
    train = load(folder / "rank.train")
    test = load(folder / "rank.test", train[0].shape[1])
    found = ndcg(ridge(train, test, 0), test).mean(0).tolist()
    assert found == pytest.approx([0.529, 0.616, 0.661], abs=5e-4)
