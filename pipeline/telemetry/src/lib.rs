//! Our own traces and log lines, over OTLP.
