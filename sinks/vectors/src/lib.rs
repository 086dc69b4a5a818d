//! The vector store: Qdrant's engine in this process, or a Qdrant server.
