"""Debian's python3-ganeti-rapi as it is, each of whose calls is counted, and each of whose answers is judged."""

import collections
import inspect
import json
import os
import traceback

from answer_shapes import wrong_answer
from ganeti.rapi import client as rapi

NODE1, NODE2, NODE3 = NODES = ["node%d.gannet.test" % number for number in (1, 2, 3)]
WEB = "web1.gannet.test"
FAKE = {"os": "noop", "hypervisor": "fake"}

GIVE_UP_AFTER = {"period": 0.05, "retries": 1200}


def public_methods():
    """Every method that a program is meant to call, whichever version of the client is installed."""
    members = inspect.getmembers(rapi.GanetiRapiClient, callable)
    return sorted(name for name, _ in members if not name.startswith("_"))


class Judge:
    """The client's methods, judged; a chapter's findings are what it found wrong, and are printed at its end."""

    def __init__(self, port, user, password, state_dir):
        self.state_dir = state_dir
        self.client = rapi.GanetiRapiClient("127.0.0.1", int(port), username=user, password=password)
        self.calls = collections.Counter()
        self.findings = []

    def __getattr__(self, name):
        method = getattr(self.client, name)

        def judged(*args, **kwargs):
            self.calls[name] += 1
            answer = method(*args, **kwargs)
            wrong = wrong_answer(name, answer)
            if wrong:
                self.find(wrong)
            return answer

        return judged

    def find(self, text):
        caller = next(frame for frame in inspect.stack() if frame.filename != __file__)
        self.findings.append("%s, line %d: %s" % (os.path.basename(caller.filename), caller.lineno, text))

    def same(self, actual, expected):
        if actual != expected:
            self.find("%r instead of %r" % (actual, expected))

    def has(self, actual, **expected):
        """An object has these values; `disk_sizes` stands for `disk.sizes`, which no keyword can be."""
        for key, value in expected.items():
            found = actual[key] if key in actual else actual[key.replace("_", ".")]
            if found != value:
                self.find("%s is %r instead of %r" % (key, found, value))

    def done(self, job_id):
        """The result of a job of one opcode that succeeds."""
        succeeded = self.WaitForJobCompletion(job_id, **GIVE_UP_AFTER)
        job = self.GetJobStatus(job_id)
        if not succeeded:
            raise AssertionError("job %d is %s: %s %s" % (job_id, job["status"], job["summary"], job["opresult"]))
        self.same(job["opstatus"], ["success"] * len(job["ops"]))
        return job["opresult"][0]

    def done_with_others(self, job_id):
        """A job that submits others succeeds, and so do they. What they do is answered."""
        others = [other for accepted, other in self.done(job_id)["jobs"] if accepted]
        return [self.GetJobStatus(other)["summary"][0] for other in others if self.done(other) or True]

    def fails(self, job_id, error_code):
        """A job whose prerequisites are not met: its end, and its class."""
        self.same(self.WaitForJobCompletion(job_id, **GIVE_UP_AFTER), False)
        job = self.GetJobStatus(job_id)
        self.same(job["status"], "error")
        kind, (text, code) = job["opresult"][0]
        self.same([kind, code], ["OpPrereqError", error_code])
        return text

    def refused(self, status, request):
        try:
            self.find("%r instead of a refusal" % (request(),))
        except rapi.GanetiApiError as error:
            self.same(error.code, status)

    def chapter(self, tell):
        """Tell one chapter; one that breaks off does not keep the next from being told."""
        self.findings = []
        try:
            tell(self)
        except Exception:  # pylint: disable=broad-except
            self.findings.append(traceback.format_exc())
        print(json.dumps({"chapter": tell.__name__, "findings": self.findings}), flush=True)


def create(judge, name, template, disks, nics=None, **more):
    return judge.CreateInstance("create", name, template, disks, [{}] if nics is None else nics, **dict(FAKE, **more))


def tags_of(judge, get, add, delete):
    """The same three methods of every kind of object that has tags."""
    judge.done(add(["judged", "owner:bob"], dry_run=True, reason="nothing"))
    judge.same(get(), [])
    judge.done(add(["owner:bob", "judged"], reason="for the judge"))
    judge.same(get(reason="to see"), ["judged", "owner:bob"])
    judge.done(delete(["judged"], dry_run=True))
    judge.same(get(), ["judged", "owner:bob"])
    judge.done(delete(["judged"], reason="enough"))
    judge.same(get(), ["owner:bob"])
    judge.fails(delete(["judged"]), "unknown_entity")
    judge.done(delete(["owner:bob"]))
