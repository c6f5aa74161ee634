"""Talks to `palisade serve` with the reference MCP client, and prints what it saw as JSON.

usage: mcp_client.py auto|legacy PALISADE WORKSPACE   (HOME and XDG_STATE_HOME come from the environment)
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
    mode, palisade, workspace = sys.argv[1:]
    server = StdioServerParameters(
        command=palisade, args=["serve", "--workspace", workspace], env=dict(os.environ), cwd=workspace
    )
    out = {}
    async with mcp.Client(server, mode=mode) as client:
        out["version"] = client.protocol_version
        out["tools"] = [tool.model_dump(by_alias=True, exclude_none=True) for tool in (await client.list_tools()).tools]

        async def call(name, tool, **arguments):
            out[name] = seen(await client.call_tool(tool, arguments))
            return out[name]

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
    print(json.dumps(out))


asyncio.run(main())
