//! What a connector sees of a partition: the way into its commit loop, the way out to connections, and the time.

use std::sync::Arc;

use crate::clock::Clock;
use crate::intake::Intake;
use crate::link::Links;

#[derive(Clone)]
pub struct Partition {
    pub intake: Arc<Intake>,
    pub links: Arc<Links>,
    pub clock: Clock,
}

impl Partition {
    pub fn new(clock: Clock) -> Partition {
        Partition { intake: Intake::new(), links: Links::new(), clock }
    }
}
