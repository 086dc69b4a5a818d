"""Sends log lines as a program does that uses OpenTelemetry's SDK with its gRPC exporter.

Arguments: the door's address, a token. Standard output: a line per export, with its result.
"""

import logging
import sys
import time

from grpc import Compression
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

address, token = sys.argv[1:]
# What the exporter says of its retries.
logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


def send(word, compression, header):
    exporter = OTLPLogExporter(
        endpoint=f"http://{address}", insecure=True, compression=compression, timeout=60, headers=(("authorization", header),)
    )
    export = exporter.export

    def told(batch):
        result = export(batch)
        print(word, result.name, flush=True)
        return result

    exporter.export = told
    provider = LoggerProvider(resource=Resource.create({"service.name": "checkout", "env": "prod"}))
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    text = f"cannot price order {word}"
    provider.get_logger("shop").emit(severity_number=SeverityNumber.ERROR, body=text, timestamp=time.time_ns())
    provider.shutdown()


send("plain", Compression.NoCompression, f"Bearer {token}")
send("gzip", Compression.Gzip, f"Bearer {token}")
send("stranger", Compression.NoCompression, "Bearer nobody")
