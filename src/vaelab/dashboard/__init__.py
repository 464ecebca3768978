"""`vaelab dashboard`: workspaces and reports of W&B as code.

`contents` says what a task's dashboard shows; `panels`, `workspace` and `report` say it in the classes of
wandb-workspaces, which is an extra: only `command` is imported before it is known to be there.
"""
