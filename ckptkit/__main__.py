"""``python -m ckptkit`` is the command ``ckptkit``."""

from ckptkit.cli import main

raise SystemExit(main())
