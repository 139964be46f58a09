"""The command line: which verb, which exit status, which words.

Nothing heavy is imported before the verb is known: ``--version`` and ``--help`` answer at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from types import FrameType

HELP = """\
usage: lit-course {fit,validate,test,predict,export,schedule,lr_find} [--config FILE] [options]
       lit-course compare RUN... | lesson [N] | init DIR | schema | completion {bash,zsh}

  fit        train a model, keep its best checkpoint
  validate   report the validation split of a checkpoint
  test       report the test split of a checkpoint
  predict    write the predictions of a checkpoint to a file
  export     write a checkpoint's model for other programs: torch_export, onnx, state_dict, ...
  schedule   draw the learning rate of a run before training it
  lr_find    suggest a learning rate, from a short training in which it grows
  compare    show runs side by side: configurations, numbers, curves
  lesson     the course: list its ten lessons, or run lesson N
  init       copy the configurations into DIR/configs, to be run and changed
  schema     print a JSON schema of configurations, for editors
  completion print a script with which the shell completes commands and options

  --config FILE          a run's configuration; init copies some
  --model NAME           MLPClassifier, MLPRegressor, LinearRegressor, Ranker or a class by its path
  --data NAME            DigitsDataModule, CSVDataModule, ... or a class of yours by its full path
  --ckpt_path WHICH      best, last, a run's folder or a file
  --name NAME            name of the run; its folder is lightning_logs/NAME/version_N
  --output FILE          where to write; of predict .csv, .parquet or .jsonl
  --model.lr 0.1         any value of the configuration can be given as a flag
  --print_config         print the whole configuration instead of running it

lit-course VERB --help lists every option of a verb; add --model NAME --model.help for a model's.
lit-course --version prints the version. --debug shows the stack trace of an error.
"""
SECONDS_FOR_THE_FIRST = 2.0
VERBS = ("fit", "validate", "test", "predict")
COMMANDS = (
    *(*VERBS, "export", "schedule", "lr_find", "compare"),
    *("lesson", "init", "schema", "completion"),
)


def main(args: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        args: The command line without the program's name; None takes the process's own.

    Returns:
        The exit status: 0 if what was asked was done, 1 if it failed, 2 if the command line or
        configuration was wrong, 130 after SIGINT, 141 if nobody reads its output any more, 143
        after SIGTERM. Nothing is raised, but with ``--debug``.
    """
    given = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in given or os.environ.get("LIT_COURSE_DEBUG") == "1"
    given = [arg for arg in given if arg != "--debug"]
    try:
        status = _answer(given, debug)
    except KeyboardInterrupt:
        status = 130
    except SystemExit as stop:
        status = _status(stop)
    except BrokenPipeError as error:  # of standard output, or of some other pipe
        status = _close_output() or _report(error)
    except Exception as error:  # the last stop: a user reads words, not a stack trace
        if debug:
            raise
        status = _report(error)
    return _close_output() or status


def _answer(given: list[str], debug: bool) -> int:
    if not given or given[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0 if given else 2
    if given[0] == "--version":
        print(f"lit-course {version('lit-course')}")
        return 0
    with _ending_on(signal.SIGTERM):
        return _run(given[0], given[1:], debug)


@contextmanager
def _ending_on(number: signal.Signals) -> Iterator[None]:
    """Let a signal end the command as an exception would; once training begins it saves first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(number, end)
    try:
        yield
    finally:
        signal.signal(number, before or signal.SIG_DFL)  # None: it was not set by Python


def _status(stop: SystemExit) -> int:
    """What an exit from deep inside means; ``--help`` of a verb leaves so, and the Trainer does."""
    # Lightning 2.6 exits without a code after SIGTERM (its issue 19916), with 1 after SIGINT.
    if type(stop).__name__ == "SIGTERMException":
        return 143
    if isinstance(stop.__context__, KeyboardInterrupt):
        return 130
    if isinstance(stop.__context__, BrokenPipeError):  # rich leaves so
        return 141
    if isinstance(stop.code, str):
        print(f"error: {stop.code}", file=sys.stderr)
    return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


def _close_output() -> int:
    """Write out what is left of the output; the interpreter's end would fail with a stack trace.

    Returns:
        0, 141 (as after SIGPIPE) if nobody reads any more, 1 if it cannot be written.
    """
    if sys.stdout is None:  # started without one
        return 0
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141 if isinstance(error, BrokenPipeError) else _report(error)
    return 0


def _run(verb: str, args: list[str], debug: bool) -> int:
    if verb not in COMMANDS:
        from lit_course.messages import UsageError
        from lit_course.names import nearest

        hint = "; the verb comes first: lit-course fit --config ..." if verb[:1] == "-" else ""
        raise UsageError(
            f"unknown command {verb!r}{hint or nearest(verb, COMMANDS)}\n"
            f"commands: {', '.join(COMMANDS)}"
        )
    if verb == "init":
        from lit_course.commands.init import init

        init(args)
        return 0
    if verb == "lesson":
        from lit_course.commands.lesson import lesson

        lesson(args, lambda verb, args: _run(verb, args, debug))
        return 0
    # jsonargparse 4.49 and later announce on every run what LightningCLI 2.6 will have to change
    # (github.com/Lightning-AI/pytorch-lightning/issues/21900). Read when it is imported.
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    # Pictures are drawn into files; a backend for a screen that is not there would end the command.
    os.environ["MPLBACKEND"] = "Agg"
    from lit_course.console import quiet

    with quiet(debug):
        if verb == "export":
            from lit_course.commands.export import ExportCLI

            ExportCLI(args)
        elif verb == "schedule":
            from lit_course.commands.schedule import ScheduleCLI

            ScheduleCLI(args)
        elif verb == "lr_find":
            from lit_course.commands.lr_find import FindCLI

            FindCLI(args)
        elif verb == "compare":
            from lit_course.commands.compare import compare

            compare(args)
        elif verb == "schema":
            from lit_course.commands.schema import print_schema

            print_schema(args)
        elif verb == "completion":
            from lit_course.commands.completion import print_completion

            print_completion(args, COMMANDS)
        elif verb == "fit":
            from lit_course.cross_validation import fit

            fit(args)
        else:
            from lit_course.trainer_cli import TrainerCLI

            TrainerCLI(verb, args)
    return 0


def _report(error: Exception) -> int:
    from lit_course.messages import UsageError, in_words, lost_process
    from lit_course.processes import local_rank

    if rank := local_rank():
        # Most errors are met by every process: the first one reports them, and ends the others.
        time.sleep(SECONDS_FOR_THE_FIRST)
    who = f" in process {rank}" if rank else ""
    said = in_words(error)
    with suppress(OSError):  # where nobody reads that either
        print(f"error{who}: {lost_process(said) or said}", file=sys.stderr)
    return 2 if isinstance(error, UsageError) else 1
