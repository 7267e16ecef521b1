"""The other end of a move between clusters, made of Ganeti's own modules and its import-export daemon.

usage: ganeti_end.py prepare|receive|send FOLDER DAEMON FILE...

FOLDER holds `secret`, the clusters' common secret, and keeps this end's key. What the other cluster has told comes as
JSON on standard input; what it is to be told is printed as JSON, one value a line. FILEs are the disks.
"""

import json
import os
import subprocess
import sys
import time

from ganeti import utils
from ganeti.masterd import instance as masterd

SALT = "0123456789abcdef"
MAGIC = "a-test-s-magic"
PATIENCE_S = 60


def tell(value):
    print(json.dumps(value), flush=True)


def prepare(folder, secret):
    """Make this end's certificate, signed with the common secret."""
    key, cert = utils.GenerateSelfSignedX509Cert("ganeti-end", 3600, 1)
    utils.WriteFile(os.path.join(folder, "key"), data=key, mode=0o400)
    utils.WriteFile(os.path.join(folder, "cert"), data=cert, mode=0o400)
    from OpenSSL import crypto
    loaded = crypto.load_certificate(crypto.FILETYPE_PEM, cert)
    signed = utils.SignX509Certificate(loaded, secret, SALT)
    return {"handshake": masterd.ComputeRemoteExportHandshake(secret), "x509_ca": signed}


def trust(folder, secret, signed):
    """Accept the other end's certificate if its signature is right."""
    (cert, _) = utils.LoadSignedX509Certificate(signed, secret)
    from OpenSSL import crypto
    path = os.path.join(folder, "ca")
    utils.WriteFile(path, data=crypto.dump_certificate(crypto.FILETYPE_PEM, cert), mode=0o400)


def daemon(folder, program, index, mode, *options):
    """Start Ganeti's daemon; its status is in the file that is returned with it."""
    status = os.path.join(folder, "status-%d" % index)
    args = [sys.executable, "-B", program, status, mode,
            "--key", os.path.join(folder, "key"), "--cert", os.path.join(folder, "cert"),
            "--ca", os.path.join(folder, "ca"), "--compress", "none"] + list(options)
    return subprocess.Popen(args, stderr=subprocess.DEVNULL), status


def read_status(path):
    try:
        with open(path) as handle:
            return json.load(handle)
    except (OSError, ValueError):
        return {}


def port_of(status):
    deadline = time.time() + PATIENCE_S
    while time.time() < deadline:
        port = read_status(status).get("listen_port")
        if port:
            return port
        time.sleep(0.02)
    raise SystemExit("the daemon does not listen: %s" % read_status(status))


def ends(daemons):
    """For each, `success` or what it and its socat said at last."""
    results = []
    for child, status in daemons:
        child.wait(PATIENCE_S)
        said = read_status(status)
        failed = said.get("exit_status") != 0
        results.append(said.get("recent_output") if failed else "success")
    return results


def receive(folder, secret, program, files):
    """Listen as the nodes of a destination do."""
    told = json.load(sys.stdin)
    own = prepare(folder, secret)
    trust(folder, secret, told["x509_ca"])
    daemons = [daemon(folder, program, index, "import", "--bind", "127.0.0.1", "--magic", MAGIC,
                      "--cmd-suffix", "| dd of=%s conv=nocreat,notrunc bs=1048576" % path)
               for index, path in enumerate(files)]
    disks = [masterd.ComputeRemoteImportDiskInfo(secret, SALT, index, "127.0.0.1", port_of(status), MAGIC)
             for index, (_, status) in enumerate(daemons)]
    tell({"disks": disks, "x509_ca": own["x509_ca"]})
    tell(ends(daemons))


def send(folder, secret, program, files):
    """Connect as the nodes of a source do."""
    told = json.load(sys.stdin)
    trust(folder, secret, told["x509_ca"])
    daemons = []
    for index, path in enumerate(files):
        (host, port, magic) = masterd.CheckRemoteExportDiskInfo(secret, index, told["disks"][index])
        daemons.append(daemon(folder, program, index, "export", "--host", host, "--port", str(port),
                              "--magic", magic, "--cmd-prefix", "dd if=%s bs=1048576 |" % path))
    tell(ends(daemons))


def main():
    mode, folder, program = sys.argv[1:4]
    files = sys.argv[4:]
    secret = utils.ReadFile(os.path.join(folder, "secret")).strip()
    if mode == "prepare":
        tell(prepare(folder, secret))
    elif mode == "receive":
        receive(folder, secret, program, files)
    else:
        send(folder, secret, program, files)


main()
