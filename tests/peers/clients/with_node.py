"""Run a client for Node against `pixtune serve`: with_node.py PIXTUNE SCRIPT MODULES"""

import subprocess
import sys

from serving import server

with server(sys.argv[1]) as (url, data):
    subprocess.run(["node", sys.argv[2], url, data, sys.argv[3]], check=True)
