"""Talks to `palisade serve --http` with the reference MCP client, and prints what it saw as JSON.

usage: mcp_http_client.py auto|legacy URL TOKEN [asks]

With `asks`: what a person at the client is asked, and answers.
"""

import asyncio
import json
import sys

import httpx2
import mcp
from mcp.client.streamable_http import streamable_http_client


def seen(result):
    return {
        "error": bool(result.is_error),
        "text": "".join(block.text for block in result.content),
        "structured": result.structured_content,
    }


def connected(url, token, mode, **more):
    http = httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=300)
    return mcp.Client(streamable_http_client(url, http_client=http), mode=mode, **more)


async def asks(mode, url, token):
    answers = {
        "yes": mcp.types.ElicitResult(action="accept", content={"decision": "allow-once"}),
        "no": mcp.types.ElicitResult(action="decline"),
        "nothing": mcp.types.ElicitResult(action="cancel"),
    }
    answer = None

    async def person(context, params):
        return answers[answer]

    out = {}
    async with connected(url, token, mode, elicitation_callback=person) as client:
        for answer in answers:
            out[answer] = seen(await client.call_tool("exec", {"command": f"git push origin {answer}"}))
    print(json.dumps(out))


async def main():
    mode, url, token, *part = sys.argv[1:]
    if part == ["asks"]:
        await asks(mode, url, token)
        return
    out = {}
    async with connected(url, token, mode) as client:
        out["version"] = client.protocol_version
        out["tools"] = [tool.name for tool in (await client.list_tools()).tools]

        async def call(name, tool, **arguments):
            out[name] = seen(await client.call_tool(tool, arguments))
            return out[name]["structured"]

        session = (await call("open", "session_open"))["session"]
        await call("state", "exec", command="x=kept", session=session)
        await call("carried", "exec", command='echo "$x"', session=session)
        await call("denied", "exec", command="sudo ls", session=session)
        job = await call("begun", "exec", command="echo one; read -r; echo two", yield_ms=0)
        read = await call("read", "job_read", job=job["job"], wait_ms=5000)
        text = read.get("stdout", "")
        await call("written", "job_write", job=job["job"], input="go\n")
        while read["status"] == "running":
            read = await call("read", "job_read", job=job["job"], cursor=read["cursor"], wait_ms=5000)
            text += read.get("stdout", "")
        out["followed"] = text
        heard = []

        async def hears(progress, total, message):
            heard.append(message)

        slow = {"command": "for n in 1 2 3 4 5 6 7 8 9; do echo step $n; sleep 1; done", "yield_ms": 60000}
        out["slow"] = seen(await client.call_tool("exec", slow, progress_callback=hears))
        out["heard"] = heard
        await call("closed", "session_close", session=session)
        await call("gone", "exec", command="pwd", session=session)
        try:
            await client.call_tool("no_such_tool", {})
            out["no_such_tool"] = None
        except mcp.MCPError as error:
            out["no_such_tool"] = error.error.code
    async with httpx2.AsyncClient() as stranger:
        answer = await stranger.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        out["refused"] = answer.status_code
    print(json.dumps(out))


asyncio.run(main())
