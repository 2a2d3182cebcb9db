//! Code generation and checks of the house.

fn main() {}
