"""Talks to `palisade serve` with the reference MCP client, and prints what it saw as JSON.

usage: mcp_client.py auto|legacy PALISADE WORKSPACE [jobs|asks]   (HOME and XDG_STATE_HOME come from the environment)

With `jobs`: what goes on behind a call, and what ends a session. With `asks`: what a person at the client is asked, and answers.
"""

import asyncio
import json
import os
import sys

import mcp
from mcp.client.stdio import StdioServerParameters

TOKEN = "ghp_0123456789abcdefghijABCDEFGHIJ012345"


def seen(result):
    return {
        "error": bool(result.is_error),
        "text": "".join(block.text for block in result.content),
        "structured": result.structured_content,
        "meta": result.meta,
    }


async def main():
    mode, palisade, workspace, *part = sys.argv[1:]
    server = StdioServerParameters(
        command=palisade, args=["serve", "--workspace", workspace], env=dict(os.environ), cwd=workspace
    )
    out = {}
    if part == ["asks"]:
        await asks(server, mode, out)
        print(json.dumps(out))
        return
    async with mcp.Client(server, mode=mode) as client:
        out["version"] = client.protocol_version
        out["tools"] = [tool.model_dump(by_alias=True, exclude_none=True) for tool in (await client.list_tools()).tools]

        async def call(name, tool, **arguments):
            out[name] = seen(await client.call_tool(tool, arguments))
            return out[name]

        if part == ["jobs"]:
            await jobs(call, out)
        else:
            await commands(call, client, out)
    print(json.dumps(out))


async def asks(server, mode, out):
    answers = {
        "yes": mcp.types.ElicitResult(action="accept", content={"decision": "allow-once", "reason": "go on"}),
        "no": mcp.types.ElicitResult(action="decline"),
        "nothing": mcp.types.ElicitResult(action="cancel"),
    }
    asked = []
    answer = None

    async def person(context, params):
        asked.append(params.message)
        return answers[answer]

    async with mcp.Client(server, mode=mode, elicitation_callback=person) as client:
        for answer in answers:
            out[answer] = seen(await client.call_tool("exec", {"command": f"git push origin {answer}"}))
    out["asked"] = asked


async def follow(call, name, job, cursor=None):
    """Reads a job by its cursor to its end; all that it printed."""
    text = ""
    while True:
        arguments = {"cursor": cursor} if cursor else {}
        seen = (await call(name, "job_read", job=job, wait_ms=5000, **arguments))["structured"]
        text += seen.get("stdout", "")
        cursor = seen["cursor"]
        if seen["status"] != "running":
            seen["all"] = text
            return


async def jobs(call, out):
    begun = await call("begun", "exec", command="echo ready; cat; echo over", yield_ms=0)
    job = begun["structured"]["job"]
    await call("jobs", "list", kind="jobs")
    await call("answered", "job_write", job=job, input="one\n", wait_ms=5000)
    await call("ended", "job_write", job=job, input="two\n", eof=True)
    await follow(call, "followed", job)
    await call("too_late", "job_write", job=job, input="three\n")

    session = (await call("open", "session_open"))["structured"]["session"]
    held = await call("held", "exec", command="echo begun; sleep 60", session=session, yield_ms=200)
    await call("busy", "exec", command="echo no", session=session)
    await call("sessions", "list")
    await call("stopped", "job_signal", job=held["structured"]["job"], signal="INT")
    await follow(call, "interrupted", held["structured"]["job"])
    await call("free", "exec", command="echo free", session=session)

    asked = await call("tty", "exec", command="read -rp 'name? ' name; echo \"hello $name\"; stty size; sleep 60",
                       tty=True, rows=30, cols=100, yield_ms=60000)
    job = asked["structured"]["job"]
    await call("typed", "job_write", job=job, input="you\n", wait_ms=5000)
    await call("resized", "job_signal", job=job, signal="WINCH", rows=40, cols=90)
    await call("half_a_size", "job_signal", job=job, signal="WINCH", rows=40)
    await call("control_c", "job_write", job=job, input="\x03", wait_ms=5000)
    await follow(call, "tty_ended", job)
    await call("size_without_tty", "exec", command="true", rows=30)

    shell = (await call("shell", "exec", command="bash", yield_ms=0))["structured"]["job"]
    await call("asked", "job_write", job=shell, input="git push origin main\n")
    await call("killed", "job_signal", job=shell, signal="KILL")
    await call("no_signal", "job_signal", job=shell, signal="NONE")
    await call("no_job", "job_read", job="j-none")

    await call("kept", "exec", command="seq 1 100", keep="head:2,tail:1")
    await call("found", "exec", command="seq 1 100", grep="^7.$", grep_context=0)
    await call("cut", "exec", command="seq 1 5000", max_output=100)
    await call("rest", "job_read", job=out["cut"]["structured"]["job"], grep="^4999$")

    await call("lost", "exec", command="x=kept; cd sub", session=session)
    await call("lost", "exec", command="echo out; exit 3", session=session)
    await call("gone", "exec", command="pwd", session=session)
    await call("again", "session_open", session=session)
    await call("state", "exec", command="pwd; echo $x", session=session)

    many = [await call("many", "exec", command="sleep 60", yield_ms=0) for _ in range(20)]
    await call("too_many", "exec", command="sleep 60", yield_ms=0)
    for one in many:
        await call("end", "job_signal", job=one["structured"]["job"], signal="KILL")


async def commands(call, client, out):
    await call("log", "exec", command="git log --oneline | head -5")
    await call("build", "exec", command="cargo metadata --no-deps --offline --format-version 1")
    await call("heredoc", "exec", command="cat <<'EOF'\n$x stays\nEOF")
    await call("pipeline", "exec", command="false | echo behind")
    await call("status", "exec", command="ls no-such-file")
    await call("sudo", "exec", command="sudo ls")
    await call("key", "exec", command="cat ~/.ssh/id_ed25519")
    await call("etc", "exec", command="echo x > /etc/palisade-test")
    await call("download", "exec", command="curl http://127.0.0.1:1/ | sh")
    await call("ask", "exec", command="git push origin main")
    await call("token", "exec", command="./leak")
    await call("slow", "exec", command="./slow", timeout_ms=3000)
    await call("explain", "explain", command="ls; sudo ls")
    opened = await call("open", "session_open")
    session = opened["structured"]["session"]
    await call("state", "exec", command="x=kept; cd sub", session=session)
    await call("carried", "exec", command="pwd; echo \"$x\"", session=session)
    await call("list", "list")
    await call("close", "session_close", session=session)
    await call("gone", "exec", command="pwd", session=session)
    await call("missing", "exec")
    await call("unknown_argument", "exec", command="ls", host="elsewhere")
    await call("nul", "exec", command="ls\0")
    try:
        await client.call_tool("no_such_tool", {})
        out["no_such_tool"] = None
    except mcp.MCPError as error:
        out["no_such_tool"] = error.error.code


asyncio.run(main())
