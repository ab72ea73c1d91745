//! A message with another text: a whole image, whose story goes on. Whether it may have one, and what that costs, is decided elsewhere.

use codecs::instant::Wall;

use super::head::PRICE_AT;
use super::{Message, State};
use crate::bytes::Reader;
use crate::money::Micros;
use crate::step::{self, Step};
use crate::submission::Body;

/// Steps `replaced` of a story of which the last is kept beside a new one.
const REPLACED_MAX: usize = 16;

impl Message {
    /// The same message with another body and price, and a step that says so: a new whole image. `state` holds from here on. Of many
    /// such steps the first ones are kept and the last.
    pub fn with_body(&self, body: &Body<'_>, price: Micros, state: State, at: Wall) -> Option<Message> {
        let head_length = self.head_length();
        let mut bytes = Vec::with_capacity(self.bytes.len() + body.octets.len() + 2 * step::STEP_HEADER);
        bytes.extend_from_slice(self.bytes.get(..head_length)?);
        bytes.get_mut(PRICE_AT..PRICE_AT + 8)?.copy_from_slice(&price.0.to_le_bytes());
        body.write(&mut bytes);
        bytes.extend_from_slice(story_for(state, self.bytes.get(self.story as usize..)?));
        let (parts, price) = (self.parts(), self.price);
        let step = Step::Replaced { state, attempt: self.attempt, parts, price };
        step.write(self.accepted_at, at, &mut bytes);
        let mut message = Message::read(bytes)?;
        (message.image_group, message.told) = (self.image_group, self.told);
        Some(message)
    }
}

/// What of a story goes before another text. A tenant may replace it again and again, and each image is written whole: beyond some, the
/// new one takes the place of the last, with the waiting since, of which nothing holds any more.
fn story_for(state: State, story: &[u8]) -> &[u8] {
    let mut reader = Reader::new(story);
    let (mut count, mut last) = (0, None);
    loop {
        let at = reader.position();
        let Some((_, step)) = step::read(&mut reader) else { break };
        match step {
            Step::Replaced { .. } => (count, last) = (count + 1, Some(at)),
            Step::Due | Step::LetGo => {}
            // Why it is held is looked up while it is.
            Step::Held { .. } if state != State::Held => {}
            _ => last = None,
        }
    }
    last.filter(|_| count >= REPLACED_MAX).and_then(|last| story.get(..last)).unwrap_or(story)
}
