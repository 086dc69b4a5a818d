//! The feeder's own tests, without the rest of the program around them: that takes two minutes to compile.

#[path = "../src/case/feeder.rs"]
mod feeder;
