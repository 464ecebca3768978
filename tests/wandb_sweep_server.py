"""A server on this machine that speaks enough of W&B's protocol to hand out the trials of a sweep to real agents."""

import json
from collections.abc import Sequence
from threading import Lock
from typing import Any

import yaml

from tracker_servers import WandbServer

SWEEP = "s1w2e3e4"


class SweepServer(WandbServer):
    """One sweep. Each agent is given the next of some trials when it has none, and is told to exit when none is left.

    Args:
        trials: the values of each trial, by the name of the parameter, as W&B's server would propose them.
        stop: the number of a trial that is told to end early, once it runs.
    """

    def __init__(self, trials: Sequence[dict[str, Any]], stop: int | None = None) -> None:
        super().__init__()
        self.trials = list(trials)
        self.stop = stop
        self.config: dict[str, Any] = {}
        self.begun: list[tuple[str, str]] = []  # entity and project of each sweep that was begun
        self.agents = 0
        self.runs: dict[str, dict[str, Any]] = {}  # the values of each run, by its id
        self.told: list[dict[str, Any]] = []  # of each run that was begun online, what it said of itself
        self._given = 0
        self._running: dict[str, str] = {}  # the run of each agent
        self._one = Lock()

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """W&B's GraphQL."""
        if not path.startswith("/graphql"):
            return super().answer(path, body)
        sent = json.loads(body)
        query, variables = sent["query"], sent.get("variables") or {}
        project = {"id": "p", "name": "vaelab", "entity": {"id": "e", "name": "team"}}
        with self._one:
            if "upsertSweep" in query:
                self.config = yaml.safe_load(variables["config"])
                self.begun.append((variables["entityName"], variables["projectName"]))
                made = {"sweep": {"name": SWEEP, "project": project}, "configValidationWarnings": []}
                return 200, {"data": {"upsertSweep": made}}
            if "SweepWithRuns" in query:
                sweep = {"id": "i", "name": SWEEP, "config": yaml.safe_dump(self.config), "runs": {"edges": []}}
                return 200, {"data": {"project": {"sweep": sweep if variables["sweep"] == SWEEP else None}}}
            if "createAgent" in query:
                self.agents += 1
                return 200, {"data": {"createAgent": {"agent": {"id": f"agent{self.agents}"}}}}
            if "agentHeartbeat" in query:
                commands = self._commands(variables["id"], json.loads(variables["runState"]))
                found = {"agent": {"id": variables["id"]}, "commands": json.dumps(commands)}
                return 200, {"data": {"agentHeartbeat": found}}
            if "UpsertBucket" in query:
                self.told.append(variables)
        if "iewer" in query and "UpsertBucket" not in query:
            viewer = {"id": "u", "username": "me", "entity": "team", "flags": "{}", "teams": {"edges": []}}
            return 200, {"data": {"viewer": viewer, "serverInfo": {}}}
        return super().answer(path, body)

    def _commands(self, agent: str, running: dict[str, bool]) -> list[dict[str, Any]]:
        if mine := [run for run in running if run == self._running.get(agent)]:
            number = list(self.runs).index(mine[0])
            return [{"type": "stop", "run_id": mine[0]}] if number == self.stop else []
        if self._given == len(self.trials):
            return [{"type": "exit"}]
        run_id, values = f"run{self._given}", self.trials[self._given]
        self._given += 1
        self.runs[run_id] = values
        self._running[agent] = run_id
        args = {name: {"value": value} for name, value in values.items()}
        return [{"type": "run", "run_id": run_id, "program": self.config["program"], "args": args}]
