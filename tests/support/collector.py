"""A collector behind TLS that asks for a client's certificate: prints its port, then what comes, a line each.

collector.py syslog|otlp CERTIFICATE KEY AUTHORITY
"""

import http.server
import socket
import ssl
import sys

kind, certificate, key, authority = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
context.load_verify_locations(authority)
context.verify_mode = ssl.CERT_REQUIRED


class Otlp(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["content-length"])).decode(), flush=True)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def syslog(listener):
    while True:
        try:
            stream = context.wrap_socket(listener.accept()[0], server_side=True)
            with stream, stream.makefile("rb") as messages:
                while digits := b"".join(iter(lambda: messages.read(1).strip(), b"")):
                    print(messages.read(int(digits)).decode(), flush=True)
        except OSError:
            pass


if kind == "otlp":
    server = http.server.HTTPServer(("127.0.0.1", 0), Otlp)
    print(server.server_address[1], flush=True)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
else:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    syslog(listener)
