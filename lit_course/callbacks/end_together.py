"""The processes of a run end together."""

from __future__ import annotations

from subprocess import Popen, TimeoutExpired

from lightning.pytorch import Callback, LightningModule, Trainer

PATIENCE = 5.0  # seconds


class EndTogether(Callback):
    """Ends the processes that the Trainer started when this one, their parent, is ended early.

    Lightning 2.6 does so after SIGINT only: else they would wait in a collective operation, or for
    a process group that is never made, until its timeout of half an hour
    (github.com/Lightning-AI/pytorch-lightning/issues/8130). ``torchrun`` and SLURM do it too.
    """

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """After an agreed stop wait for the others to end by themselves; else end them."""
        children: list[Popen[bytes]] = getattr(trainer.strategy.launcher, "procs", [])
        for child in children:
            if not isinstance(exception, SystemExit):
                child.kill()
            try:
                child.wait(PATIENCE)
            except TimeoutExpired:
                child.kill()
                child.wait()
