"""Nodes' roles, and instances that leave nodes, driven by Debian's python3-ganeti-rapi as it is.

Usage: node_life.py PORT USER PASSWORD. Prints one JSON object a step: {"step": …, "value": …}.
"""

import json
import sys

from ganeti.rapi import client as rapi

NAME = "web1.gannet.test"
NODE1, NODE2, NODE3 = ["node%d.gannet.test" % number for number in (1, 2, 3)]


def main():
    port, user, password = sys.argv[1:]
    client = rapi.GanetiRapiClient("127.0.0.1", int(port), username=user, password=password)

    def show(step, value):
        print(json.dumps({"step": step, "value": value}), flush=True)

    def ended(job_id):
        ok = client.WaitForJobCompletion(job_id, period=0.2, retries=900)
        return {"ok": ok, "job": client.GetJobStatus(job_id)}

    def finish(step, job_id):
        show(step, ended(job_id))

    def finish_all(step, job_id):
        """The job, and those that it has submitted."""
        first = ended(job_id)
        jobs = [submitted for accepted, submitted in first["job"]["opresult"][0]["jobs"] if accepted]
        show(step, {"first": first, "others": [ended(each) for each in jobs]})

    def place(step):
        row = client.GetInstance(NAME)
        show(step, [row["pnode"], row["snodes"], row["status"]])

    def refused(step, call):
        try:
            show(step, {"answer": call()})
        except rapi.GanetiApiError as error:
            show(step, {"code": error.code, "text": str(error)})

    for role in ("drained", "offline", "master-candidate", "regular"):
        finish("set-" + role, client.SetNodeRole(NODE3, role))
        show("role-" + role, client.GetNodeRole(NODE3))
    finish("forced", client.SetNodeRole(NODE3, "master-candidate", force=True, auto_promote=True))
    refused("role-master", lambda: client.SetNodeRole(NODE3, "master"))
    finish("demote-master", client.SetNodeRole(NODE1, "regular"))

    finish("modify", client.ModifyNode(NODE3, ndparams={"spindle_count": 4}))
    show("modified", client.GetNode(NODE3)["ndparams"])
    refused("modify-unknown", lambda: client.ModifyNode(NODE3, nosuch=True))

    create = {"nics": [{}], "os": "noop", "pnode": NODE1, "snode": NODE2, "hypervisor": "fake"}
    finish("create", client.CreateInstance("create", NAME, "drbd", [{"size": 64}], **create))
    finish("not-capable", client.ModifyNode(NODE2, vm_capable=False))
    place("at-first")
    finish("migrate-dry", client.MigrateNode(NODE1, dry_run=True))
    place("after-dry-run")
    finish_all("migrate", client.MigrateNode(NODE1))
    place("migrated")
    finish_all("evacuate-primary", client.EvacuateNode(NODE2, iallocator="hail", mode="primary-only"))
    place("primary-evacuated")
    finish_all("evacuate-secondary", client.EvacuateNode(NODE2, remote_node=NODE3, mode="secondary-only"))
    place("secondary-evacuated")
    finish_all("evacuate-all", client.EvacuateNode(NODE3, iallocator="hail", mode="all", early_release=True))
    place("all-evacuated")
    finish_all("evacuate-empty", client.EvacuateNode(NODE3, iallocator=".", mode="all"))
    refused("evacuate-unknown", lambda: client.EvacuateNode(NODE3, mode="bogus"))

    finish("powercycle-master", client.PowercycleNode(NODE1))
    finish("powercycle", client.PowercycleNode(NODE3, force=True))
    finish("delete", client.DeleteInstance(NAME, shutdown_timeout=1))


main()
