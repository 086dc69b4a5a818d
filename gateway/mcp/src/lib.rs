//! The MCP server: what a model may look at, and what it may propose.
