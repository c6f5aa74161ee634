"""A model that does what its script says, at the endpoints that AI clients ask their vendors' models at.

usage: model.py SCRIPT LOG

SCRIPT is a JSON list of calls, `{"tool": "exec", "arguments": {…}}`, made one after another by the names that the client offers
Palisade's tools under, or with `own` in the place of `tool` by a name of the client's own; then the model says `over`. Each request is a line of LOG: the names of the tools that the client offers, and
the texts of the results that it has so far. Prints the port of loopback that it listens at, and ends with its standard input.
"""

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SCRIPT = json.load(open(sys.argv[1], encoding="utf-8"))
LOG = open(sys.argv[2], "a", encoding="utf-8")
LOCK = threading.Lock()


def texts(value):
    """All texts in a value, one after another: where a client puts a result differs from client to client."""
    if isinstance(value, str):
        return value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return "\n".join(filter(None, map(texts, parts)))


class Messages:
    """Anthropic's messages."""

    path = re.compile(r"/v1/messages(\?|$)")

    def tools(self, asked):
        return [tool["name"] for tool in asked.get("tools", [])]

    def results(self, asked):
        blocks = [block for message in asked["messages"] if isinstance(message["content"], list) for block in message["content"]]
        return [texts(block["content"]) for block in blocks if block["type"] == "tool_result"]

    def answer(self, say, call, number):
        usage = {"input_tokens": 1, "output_tokens": 1}
        message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": "scripted", "content": [], "usage": usage}
        yield "message_start", {"type": "message_start", "message": message | {"stop_reason": None, "stop_sequence": None}}
        if call:
            block = {"type": "tool_use", "id": f"toolu_{number}", "name": call[0], "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(call[1])}
        else:
            block, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": say}
        yield "content_block_start", {"type": "content_block_start", "index": 0, "content_block": block}
        yield "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}
        yield "content_block_stop", {"type": "content_block_stop", "index": 0}
        end = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
        yield "message_delta", {"type": "message_delta", "delta": end, "usage": usage}
        yield "message_stop", {"type": "message_stop"}


class Responses:
    """OpenAI's responses. Tools of a server may stand in a namespace."""

    path = re.compile(r"/v1/responses$")

    def tools(self, asked):
        names = []
        for tool in asked.get("tools", []):
            inner = tool.get("tools")
            names += [f"{tool['name']}/{one['name']}" for one in inner] if inner else [tool.get("name", tool["type"])]
        return names

    def results(self, asked):
        return [texts(item["output"]) for item in asked["input"] if item.get("type") == "function_call_output"]

    def answer(self, say, call, number):
        if call:
            space, _, name = call[0].rpartition("/")
            item = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "name": name, "arguments": json.dumps(call[1])}
            if space:
                item["namespace"] = space
        else:
            item = {"type": "message", "id": f"msg_{number}", "role": "assistant", "content": [{"type": "output_text", "text": say}]}
        response = {"id": f"resp_{number}", "object": "response", "output": [], "usage": None}
        yield "response.created", {"type": "response.created", "response": response | {"status": "in_progress"}}
        yield "response.output_item.added", {"type": "response.output_item.added", "output_index": 0, "item": item}
        yield "response.output_item.done", {"type": "response.output_item.done", "output_index": 0, "item": item}
        yield "response.completed", {"type": "response.completed", "response": response | {"status": "completed", "output": [item]}}


class Completions:
    """OpenAI's chat completions."""

    path = re.compile(r"/v1/chat/completions$")

    def tools(self, asked):
        return [tool["function"]["name"] for tool in asked.get("tools", [])]

    def results(self, asked):
        return [texts(message["content"]) for message in asked["messages"] if message["role"] == "tool"]

    def answer(self, say, call, number):
        delta = {"role": "assistant", "content": None if call else say}
        if call:
            function = {"name": call[0], "arguments": json.dumps(call[1])}
            delta["tool_calls"] = [{"index": 0, "id": f"call_{number}", "type": "function", "function": function}]
        chunk = {"id": f"chat_{number}", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
        yield None, chunk | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield None, chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if call else "stop"}]}
        yield None, None


class Contents:
    """Google's contents."""

    path = re.compile(r":(streamG|g)enerateContent(\?|$)")

    def tools(self, asked):
        return [one["name"] for tool in asked.get("tools", []) for one in tool.get("functionDeclarations", [])]

    def results(self, asked):
        parts = [part for content in asked["contents"] for part in content["parts"]]
        return [texts(part["functionResponse"]["response"]) for part in parts if "functionResponse" in part]

    def answer(self, say, call, number):
        part = {"functionCall": {"name": call[0], "args": call[1]}} if call else {"text": say}
        candidate = {"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [part]}}
        yield None, {"candidates": [candidate], "usageMetadata": {"totalTokenCount": 2}}


APIS = [Messages(), Responses(), Completions(), Contents()]


class Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        api = next((api for api in APIS if api.path.search(self.path)), None)
        if api is None:
            return self.reply(404, "application/json", b"{}")
        asked = json.loads(body)
        tools, results = api.tools(asked), api.results(asked)
        with LOCK:
            print(json.dumps({"path": self.path, "tools": tools, "results": results}), file=LOG, flush=True)
        call, say = self.next(tools, len(results))
        events = list(api.answer(say, call, len(results)))
        if "streamGenerate" in self.path or asked.get("stream"):
            lines = [f"event: {name}\n" * bool(name) + f"data: {json.dumps(data) if data else '[DONE]'}\n\n" for name, data in events]
            return self.reply(200, "text/event-stream", "".join(lines).encode())
        # Not streamed: what some ask beside their conversation, such as a title for it.
        whole = {"id": "beside", "type": "message", "role": "assistant", "model": "scripted", "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}
        whole |= {"content": [{"type": "text", "text": "{}"}], "candidates": [{"content": {"role": "model", "parts": [{"text": "{}"}]}}]}
        whole |= {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "{}"}}]}
        self.reply(200, "application/json", json.dumps(whole).encode())

    def do_GET(self):
        self.reply(404, "application/json", b"{}")

    do_HEAD = do_GET

    def next(self, tools, done):
        """The next call of the script by the client's name for it; without tools, a request beside the conversation."""
        if not tools:
            return None, "a title"
        if done >= len(SCRIPT):
            return None, "over"
        wanted = SCRIPT[done]
        if "own" in wanted:
            # A tool of the client's own, by its name.
            return ((wanted["own"], wanted["arguments"]), "") if wanted["own"] in tools else (None, f"there is no {wanted['own']}")
        for name in tools:
            if "palisade" in name and re.search(rf"[_/]{wanted['tool']}$", name):
                return (name, wanted["arguments"]), ""
        return None, f"there is no {wanted['tool']}"

    def reply(self, status, kind, body):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
