#!/usr/bin/env python3
"""Serves files after 20 ms; every 50th URL has status 404. `server.py DIRECTORY` prints its port."""

import asyncio
import sys
from pathlib import Path

DIRECTORY = Path(sys.argv[1])
FILES = {}


async def respond(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode().split("?")[0]
            number, _, name = path.strip("/").partition("/")
            await asyncio.sleep(0.02)
            if int(number) % 50 == 49:
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            else:
                body = FILES.get(name) or FILES.setdefault(name, (DIRECTORY / name).read_bytes())
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: image/jpeg\r\ncontent-length: %d\r\n\r\n" % len(body))
                writer.write(body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(respond, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
