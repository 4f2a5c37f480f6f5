"""A client of initd over AF_VSOCK or a VMM's Unix socket; used by the tests of the vsock path, also from within a guest."""

import socket

from wire import Conversation


class Client(Conversation):
    def execute(self, argv):
        """(standard output, exit status) of a program."""
        self.send("EXEC", 1, argv=argv, wall_ms=10000)
        output = b""
        while True:
            message = self.receive_one_of("STARTED", "DATA", "END", "EXIT")
            if message.kind == "DATA" and message.channel == 1:
                output += message.data
            elif message.kind == "EXIT":
                return output, message.status


def connect_vsock(cid, port):
    sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    sock.settimeout(20)
    sock.connect((cid, port))
    return Client(sock)


def connect_unix(path, port):
    """Through a VMM's Unix socket: CONNECT port, answered by OK and a number."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(20)
    sock.connect(path)
    sock.sendall(b"CONNECT %d\n" % port)
    answer = b""
    while not answer.endswith(b"\n"):
        piece = sock.recv(1)
        if not piece:
            raise EOFError
        answer += piece
    if not answer.startswith(b"OK "):
        raise RuntimeError(answer)
    return Client(sock)
