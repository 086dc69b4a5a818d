//! The agents. Each is a function over an evidence snapshot with observing tools: it returns findings, each with its citations, and
//! says what it could not learn. None of them can change anything.
//!
//! The decisions are deterministic: the same evidence and the same answers of the tools lead to the same output. A language model,
//! where one is configured, may add words; a claim of it that cites nothing is dropped.
