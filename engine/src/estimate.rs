//! What a message would be and cost, by the same plan that one goes through which is accepted. Nothing changes by it.

use crate::command::Refusal;
use crate::effect::Estimate;
use crate::engine::Engine;
use crate::submission::{Body, UDHI};

impl Engine {
    /// Credit, queues and the state of the disk are not looked at: they are of the moment.
    pub(crate) fn estimate(&mut self, tenant: u32, bytes: &[u8]) -> Result<Estimate, Refusal> {
        if let Some(refusal) = self.tenants.refusal(tenant, self.now.wall) {
            return Err(refusal);
        }
        let (body, length) = Body::read(bytes).ok_or(Refusal::InvalidRequest)?;
        self.check_body(&body, length == bytes.len())?;
        // A question takes nobody's turn.
        let turns = self.tenants.turns.clone();
        let plan = self.plan(tenant, &body);
        self.tenants.turns = turns;
        let plan = plan?;
        let (parts, encoding) = plan.shown(&body);
        let is_national = body.esm_class & UDHI != 0 && encoding == body.encoding;
        let provider = plan.candidates().first().copied().ok_or(Refusal::NoRoute)?;
        Ok(Estimate { parts, encoding, is_national, price: plan.price, provider })
    }
}
