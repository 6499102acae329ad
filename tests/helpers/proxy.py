"""Between a client and a server, to be cut or frozen."""

import random
import select
import socket
import threading
from contextlib import suppress

import sqlalchemy as sa


class Proxy:
    """Passes connections on to the server of a URL; `url` is the same database by way of the proxy.

    With `loss`, that share of the pieces that pass ends its connection instead, at moments that follow from the seed.
    """

    def __init__(self, url: str, *, loss: float = 0.0, seed: int = 0) -> None:
        self._loss, self._random = loss, random.Random(seed)
        server = sa.make_url(url)
        assert server.host is not None
        assert server.port is not None
        self._server = (server.host, server.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        ours = server.set(host="127.0.0.1", port=self._listener.getsockname()[1])
        self.url = ours.render_as_string(hide_password=False)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._open, self._frozen, self._ended = True, False, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """End all connections, and those that come."""
        self._open = False

    def freeze(self) -> None:
        """Keep connections open, and pass nothing on."""
        self._frozen = True

    def restore(self) -> None:
        self._open, self._frozen = True, False

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            if not self._open:
                self._drop(*self._peers)
            ready, _, _ = select.select([self._listener, *self._peers] if not self._frozen else [], [], [], 0.02)
            for one in ready:
                if one is self._listener:
                    self._accept()
                elif one in self._peers:
                    self._pass_on(one)
        self._drop(*self._peers)
        self._listener.close()

    def _accept(self) -> None:
        client = self._listener.accept()[0]
        if self._open:
            server = socket.create_connection(self._server)
            self._peers |= {client: server, server: client}
        else:
            client.close()

    def _pass_on(self, source: socket.socket) -> None:
        with suppress(OSError):
            data = source.recv(1 << 16)
            if data and self._random.random() >= self._loss:
                self._peers[source].sendall(data)
                return
        self._drop(source, self._peers[source])

    def _drop(self, *sockets: socket.socket) -> None:
        for one in sockets:
            self._peers.pop(one, None)
            one.close()
