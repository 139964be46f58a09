"""``python -m lit_course`` is ``lit-course``."""

import sys

from lit_course.cli import main

if __name__ == "__main__":
    sys.exit(main())
