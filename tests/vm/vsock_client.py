"""A client of proto/PROTOCOL.md in a few lines, over AF_VSOCK or a Unix socket; used by the tests of the vsock path."""

import socket
import struct

HELLO, WELCOME, PING, PONG, ERROR, DATA, EXEC, STARTED, EXIT = 1, 2, 3, 4, 6, 8, 16, 17, 18
MAGIC = 0x44535043


def text(s):
    data = s.encode() + b"\0"
    return struct.pack("<I", len(data)) + data


def texts(strings):
    data = b"".join(s.encode() + b"\0" for s in strings)
    return struct.pack("<I", len(data)) + data


class Client:
    def __init__(self, sock):
        self.sock = sock

    def send(self, kind, stream, payload=b""):
        self.sock.sendall(struct.pack("<IHHI", len(payload), kind, 0, stream) + payload)

    def receive_exactly(self, size):
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def receive(self):
        length, kind, _, stream = struct.unpack("<IHHI", self.receive_exactly(12))
        return kind, stream, self.receive_exactly(length)

    def hello(self):
        self.send(HELLO, 0, struct.pack("<IHHQ", MAGIC, 1, 1, 0))
        kind, _, payload = self.receive()
        return kind == WELCOME and struct.unpack_from("<I", payload)[0] == MAGIC

    def ping(self, token):
        self.send(PING, 0, struct.pack("<Q", token))
        return self.receive() == (PONG, 0, struct.pack("<Q", token))

    def execute(self, argv):
        """(standard output, exit status) of a program."""
        limits = struct.pack("<HHHIIQIIQQ", 0, 0, 0, 10000, 0, 0, 0, 0, 0, 1 << 16)
        self.send(EXEC, 1, texts(argv) + texts([]) + text("/") + struct.pack("<III", 0, 0, 0) + limits)
        output = b""
        while True:
            kind, _, payload = self.receive()
            if kind == DATA and payload[0] == 1:
                output += payload[13:]
            elif kind == EXIT:
                return output, payload[2]
            elif kind == ERROR:
                raise RuntimeError(payload)


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
