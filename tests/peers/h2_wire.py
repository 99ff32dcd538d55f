"""What the HTTP/2 caller and backend share: a connection over a socket, bodies sent as the window allows."""
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings


class Wire:
    def __init__(self, socket, client):
        self.socket = socket
        config = h2.config.H2Configuration(
            client_side=client, header_encoding="utf-8", validate_inbound_headers=False,
            validate_outbound_headers=False, normalize_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 20)
        self.pending = {}  # stream: [bytes left, end of stream, trailers]
        self.flush()

    def flush(self):
        for stream in list(self.pending):
            data, end, trailers = self.pending[stream]
            try:
                while data:
                    allowed = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
                    if allowed <= 0:
                        break
                    piece, data = data[:allowed], data[allowed:]
                    self.h2.send_data(stream, piece, end_stream=end and not data and not trailers)
                if data:
                    self.pending[stream][0] = data
                    continue
                del self.pending[stream]
                if trailers:
                    self.h2.send_headers(stream, trailers, end_stream=True)
            except h2.exceptions.ProtocolError:
                self.pending.pop(stream, None)
        data = self.h2.data_to_send()
        if data:
            self.socket.sendall(data)

    def body(self, stream, data, end=True, trailers=None):
        if not data and not trailers:
            if end:
                self.h2.send_data(stream, b"", end_stream=True)
        elif stream in self.pending:
            waiting = self.pending[stream]
            self.pending[stream] = [waiting[0] + data, end, trailers]
        else:
            self.pending[stream] = [data, end, trailers]
        self.flush()

    def events(self):
        """The events of what is read next; None when the connection has ended."""
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            return None
        if not data:
            return None
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self.flush_quietly()
            return None
        for event in events:
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                try:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                except h2.exceptions.ProtocolError:
                    pass
        self.flush_quietly()
        return events

    def flush_quietly(self):
        try:
            self.flush()
        except OSError:
            pass
