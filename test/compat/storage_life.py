"""The life of plain and mirrored disks, driven by Debian's python3-ganeti-rapi as it is.

Usage: storage_life.py PORT USER PASSWORD NODE_FOLDERS. Each node folder is one node's simulated storage, in the order
of the nodes' names. Prints one JSON object a step: {"step": …, "value": …}.
"""

import json
import re
import subprocess
import sys
import time

from ganeti.rapi import client as rapi

NAME = "web1.gannet.test"
CHOSEN = "web2.gannet.test"
NODE1, NODE2, NODE3 = ["node%d.gannet.test" % number for number in (1, 2, 3)]


def main():
    port, user, password = sys.argv[1:4]
    folders = sys.argv[4:]
    client = rapi.GanetiRapiClient("127.0.0.1", int(port), username=user, password=password)

    def show(step, value):
        print(json.dumps({"step": step, "value": value}), flush=True)

    def finish(step, job_id):
        ok = client.WaitForJobCompletion(job_id, period=0.2, retries=900)
        job = client.GetJobStatus(job_id)
        show(step, {"ok": ok, "job": job})
        if not ok:
            raise SystemExit("%s failed: %s" % (step, job["opresult"]))

    def tool(node, name, *args):
        done = subprocess.run(["%s/bin/%s" % (folders[node], name), *args], capture_output=True, text=True, check=True)
        return done.stdout

    def volumes(node):
        lines = tool(node, "lvs", "--noheadings", "--separator=|", "--units=m", "--nosuffix", "-o", "lv_name,lv_size")
        rows = [line.strip().split("|") for line in lines.splitlines()]
        # Which disk's, and which of its volumes; the unique part of its name is drawn by lot.
        return sorted([re.sub(r"^[0-9a-f-]{36}\.", "", name), float(size)] for name, size in rows)

    def mirrors(node):
        with open("%s/proc-drbd" % folders[node]) as status:
            return re.findall(r"^ *\d+: cs:(\S+) ro:(\S+) ds:(\S+)", status.read(), re.MULTILINE)

    def look(step):
        """What the commands have left on the nodes."""
        show("look-" + step, [{"volumes": volumes(node), "mirrors": mirrors(node)} for node in (0, 1, 2)])

    def settled(node, is_so):
        """What the node tells of itself follows what is done there: soon, and not at once."""
        for _ in range(100):
            row = client.GetNode(node)
            if is_so(row):
                break
            time.sleep(0.2)
        return row

    def create(template, os="noop", **more):
        return client.CreateInstance(
            "create", NAME, template, nics=[{}], os=os, pnode=NODE1, hypervisor="fake", **more
        )

    job_id = create("drbd", os="failing", disks=[{"size": 64}], snode=NODE2)
    show("failed", {"ok": client.WaitForJobCompletion(job_id, period=0.2), "job": client.GetJobStatus(job_id)})
    look("failed")

    show("space", settled(NODE1, lambda row: row["dfree"] == row["dtotal"]))
    finish("create-drbd", create("drbd", disks=[{"size": 64}], snode=NODE2))
    show("drbd", client.GetInstance(NAME))
    look("running")
    show("space-used", settled(NODE2, lambda row: row["dfree"] < row["dtotal"]))
    finish("info", client.GetInstanceInfo(NAME))

    finish("grow", client.GrowInstanceDisk(NAME, 0, 32, wait_for_sync=True))
    show("grown", client.GetInstance(NAME))
    look("grown")
    finish("reboot", client.RebootInstance(NAME, reboot_type="full", shutdown_timeout=1))
    look("rebooted")

    finish("shutdown", client.ShutdownInstance(NAME, timeout=1))
    look("down")
    finish("activate", client.ActivateInstanceDisks(NAME))
    look("activated")
    finish("deactivate", client.DeactivateInstanceDisks(NAME))
    look("deactivated")

    finish("to-plain", client.ModifyInstance(NAME, disk_template="plain"))
    show("plain", client.GetInstance(NAME))
    look("plain")
    finish("to-drbd", client.ModifyInstance(NAME, disk_template="drbd", remote_node=NODE3))
    show("drbd-again", client.GetInstance(NAME))
    look("drbd-again")
    finish("startup", client.StartupInstance(NAME))
    look("up")
    show("up", client.GetInstance(NAME))

    fields = ["name", "size", "used", "free", "allocatable", "type", "node"]
    finish("volume-groups", client.GetNodeStorageUnits(NODE3, "lvm-vg", ",".join(fields)))
    finish("not-allocatable", client.ModifyNodeStorageUnits(NODE3, "lvm-pv", "/dev/vdb", allocatable=False))
    finish("physical-volumes", client.GetNodeStorageUnits(NODE3, "lvm-pv", ",".join(fields)))
    finish("allocatable", client.ModifyNodeStorageUnits(NODE3, "lvm-pv", "/dev/vdb", allocatable=True))
    finish("repair", client.RepairNodeStorageUnits(NODE2, "lvm-vg", "xenvg"))

    finish("shutdown-again", client.ShutdownInstance(NAME, timeout=1))
    for node in (0, 2):
        for line in tool(node, "lvs", "--noheadings", "--separator=|", "-o", "vg_name,lv_name").splitlines():
            tool(node, "lvremove", "-f", "/".join(line.strip().split("|")))
    look("lost")
    finish("recreate", client.RecreateInstanceDisks(NAME, nodes=[NODE2, NODE3]))
    show("recreated", client.GetInstance(NAME))
    look("recreated")
    finish("delete-drbd", client.DeleteInstance(NAME, shutdown_timeout=1))
    look("deleted-drbd")

    finish("create-plain", create("plain", disks=[{"size": 32, "name": "root"}]))
    show("plain-running", client.GetInstance(NAME))
    look("plain-running")
    finish("shutdown-plain", client.ShutdownInstance(NAME, timeout=1))
    finish("to-file", client.ModifyInstance(NAME, disk_template="file"))
    look("file")
    finish("from-file", client.ModifyInstance(NAME, disk_template="plain"))
    look("from-file")
    finish("delete-plain", client.DeleteInstance(NAME, shutdown_timeout=1))

    tool(0, "lvcreate", "-Wn", "-L40m", "-nold-data", "xenvg")
    finish("adopt", create("plain", disks=[{"adopt": "old-data"}]))
    show("adopted", client.GetInstance(NAME))
    look("adopted")
    finish("delete-adopted", client.DeleteInstance(NAME, shutdown_timeout=1))

    finish("filler", create("plain", disks=[{"size": 512}]))
    choice = {"iallocator": "hail", "opportunistic_locking": True, "hypervisor": "fake"}
    chosen = client.CreateInstance("create", CHOSEN, "drbd", [{"size": 64}], [{}], os="noop", **choice)
    finish("allocated", chosen)
    show("allocated-row", client.GetInstance(CHOSEN))
    too_much = {"beparams": {"minmem": 4096, "maxmem": 32768}}
    job_id = client.CreateInstance("create", "big.gannet.test", "plain", [{"size": 64}], [{}], os="noop", **choice, **too_much)
    show("nowhere", {"ok": client.WaitForJobCompletion(job_id, period=0.2), "job": client.GetJobStatus(job_id)})
    finish("delete-allocated", client.DeleteInstance(CHOSEN, shutdown_timeout=1))
    finish("delete-filler", client.DeleteInstance(NAME, shutdown_timeout=1))
    look("end")
    show("instances", client.GetInstances())


main()
