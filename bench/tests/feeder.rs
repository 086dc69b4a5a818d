//! The feeder's own tests, without the rest of the program around them: that takes two minutes to compile.

#[allow(dead_code)] // The program uses all of it.
#[path = "../src/case/feeder.rs"]
mod feeder;
