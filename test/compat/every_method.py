"""Every public method of Debian's python3-ganeti-rapi, with its arguments, and what it has done read back.

Usage: every_method.py PORT USER PASSWORD STATE_DIR, on a fresh cluster of three nodes with simulated storage that lies
in this folder. Prints one JSON object a chapter, {"chapter": …, "findings": […]}, and in the end
{"public": […], "called": {method: times}}.
"""

import json
import sys

import cluster_chapters
import instance_chapters
import query_chapters
from judge import Judge, public_methods


def main():
    judge = Judge(*sys.argv[1:])
    for chapter in [*cluster_chapters.CHAPTERS, *instance_chapters.CHAPTERS, *query_chapters.CHAPTERS]:
        judge.chapter(chapter)
    print(json.dumps({"public": public_methods(), "called": judge.calls}), flush=True)


main()
