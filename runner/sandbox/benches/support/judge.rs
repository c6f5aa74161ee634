//! A judge without a policy: what is left is the price of asking.

use palisade_sandbox::{Execution, Judge};

#[derive(Debug)]
pub(crate) struct Yes;

impl Judge for Yes {
    fn launched(&mut self, _: i32) {}

    fn may(&mut self, _: &[Execution]) -> bool {
        true
    }

    fn became(&mut self, _: &[Execution]) -> bool {
        true
    }

    fn refused(&mut self, _: &Execution, _: &'static str) {}
}
