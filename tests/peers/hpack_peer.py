"""The HPACK of Python's `hpack`, over standard input and output, a line a header block.

`decode HEX` answers with the fields as JSON; `encode JSON` answers with HEX. One table each way, as on
a connection.
"""
import json
import sys

from hpack import Decoder, Encoder

decoder, encoder = Decoder(), Encoder()
for line in sys.stdin:
    command, argument = line.rstrip("\n").split(" ", 1)
    if command == "decode":
        fields = decoder.decode(bytes.fromhex(argument), raw=True)
        print(json.dumps([[name.decode("latin-1"), value.decode("latin-1")] for name, value in fields]), flush=True)
    else:
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in json.loads(argument)]
        print(encoder.encode(fields).hex(), flush=True)
