"""``prunebench submit``: a folder to be published, made of one's own runs."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from ...errors import UsageError, printable
from .options import add_trust, folder_path

HELP = "make a folder of your runs that can be published"

_STEPS = """
To have it published, open a pull request of a branch in which you have

  1. copied it:       cp -r {folder} results/published/{name}{copied}
  2. checked it:      .ci/submission{trust} results/published/{name}
  3. shown it, by a page results/published/{name}.md with these lines and words of your own, and
     a link to it in the README.md beside it:

# {name}

```console
{command}
```

<!-- {name} -->
```
{table}
```

{provenance}
<!-- end of {name} -->
"""

_COPIED = """
                      cp {folder}/experiments.yaml experiments/{name}.yaml"""
_COMMAND = "$ prunebench run experiments/{name}.yaml --runs runs/{name}"
# Files of one's own are named by their paths in the folder, which hold nowhere else.
_COMMAND_IN_FOLDER = """$ cd results/published/{name}
$ prunebench run experiments.yaml --runs ../../../runs/{name}"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("runs", type=Path, help="records folder, with nothing else in it")
    parser.add_argument(
        "--name", type=_name, required=True, help="what it is called: small letters, digits, dashes"
    )
    parser.add_argument("--by", required=True, metavar="WHO", help="who reports these results")
    parser.add_argument(
        "-o",
        "--output",
        type=folder_path,
        metavar="FOLDER",
        help="the folder to make (default: submissions/NAME)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        help="the YAML file of the experiments (default: derived from the runs)",
    )
    parser.add_argument(
        "--code-licence", default="", metavar="LICENCE", help="licence of your Python files"
    )
    parser.add_argument(
        "--code-source", default="", metavar="URL", help="where your Python files come from"
    )
    add_trust(parser)


def execute(options: argparse.Namespace) -> int:
    """Make the folder and say what to do with it; fail if it breaks a rule."""
    from ...results.manifest import METHODS, provenance
    from ..studies.submitting import Code, submit

    if not options.by.strip():
        raise UsageError("--by: '' is not allowed: say who reports these results")
    submission = submit(
        options.runs,
        options.output or Path("submissions") / options.name,
        by=options.by,
        config=options.config,
        code=Code(options.code_licence, options.code_source),
        trust=options.trust,
    )
    if submission.findings:
        print(f"refused  {options.runs}")
        for each in submission.findings:
            print(f"       - {printable(each.sentence)}")
        return 1
    print(f"accepted {submission.folder}: {submission.records} records")
    for note in submission.remarks:
        print(f"       - note: {printable(note)}")
    trust = " --trust" if options.trust else ""
    has_code = (submission.folder / METHODS).is_dir()
    names = {"folder": submission.folder, "name": options.name}
    steps = _STEPS.format(
        **names,
        copied="" if has_code else _COPIED.format(**names),
        command=(_COMMAND_IN_FOLDER if has_code else _COMMAND).format(**names),
        trust=trust,
        table=submission.table,
        provenance=provenance(submission.folder),
    )
    print(steps, end="")
    return 0


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed: use small letters, digits and single dashes"
        )
    return text
