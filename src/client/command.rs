use super::Client;
use crate::{
    client::{OpenError, Refusal, open::check_age},
    command::{AppliedCommand, Command, MAX_LEN},
    key_ring::{KeyCache, KeyRing},
    message::{Header, Mode},
    siv,
    state::{CannotChange, Order},
    store::Store,
    time::Clock,
};
use zeroize::Zeroizing;

impl<R: KeyRing, S: Store, C: Clock> Client<R, S, C> {
    /// Opens, checks, stores and applies a command (protocol page, section 6).
    pub(super) fn open_command(&mut self, message: &[u8]) -> Result<AppliedCommand, OpenError> {
        self.erase_in_passing();
        // A command looks like a symmetric message in both modes.
        let header = Header::read(Mode::Symmetric, message)?;
        let sealed = Mode::Symmetric.body(message).unwrap_or_default();
        let mut buffer = Zeroizing::new([0; MAX_LEN]);
        let Some(body) = buffer.get_mut(..sealed.len()) else {
            // Longer than any command, so it is none of the key server's.
            return Err(Refusal::NotAuthentic.into());
        };
        body.copy_from_slice(sealed);
        header.open_body(self.state.identity.command_key(), body).map_err(|siv::NotAuthentic| Refusal::NotAuthentic)?;

        let sent = header.sent;
        match self.state.order.place(sent, &header.tag) {
            Order::Next => {}
            Order::Repeated => return Err(Refusal::Repeated.into()),
            Order::Older { newest } => return Err(Refusal::Superseded { newest }.into()),
        }
        let now = self.time.now();
        let own_clock = self.time.own_clock();
        if let Some(ahead) = own_clock.and_then(|now| self.too_far_ahead(now, sent)) {
            return Err(OpenError::ClockBehind { ahead });
        }
        if let Some(now) = now {
            // On a device without a clock it is at least so late.
            check_age(now, sent, self.state.options.command_max_age)?;
        }

        let command = Command::decode(body).map_err(Refusal::Command)?;
        let applied = AppliedCommand::from(&command);
        // A device without a clock learns from this very command that it is at least `sent`.
        let changed_at = own_clock.unwrap_or_else(|| now.map_or(sent, |now| now.max(sent)));
        let change = self.state.plan(command, sent, header.tag, changed_at).map_err(|error| match error {
            CannotChange::Command(error) => OpenError::Refused(Refusal::Command(error)),
            CannotChange::Full(full) => OpenError::Full(full),
        })?;
        self.save(&change).map_err(OpenError::Store)?;
        self.state.commit(change);

        self.transitions = self.state.transitions();
        self.derived.clear();
        self.time.learn(sent);
        // A device without a clock knows only now how late it is.
        self.erase_in_passing();
        Ok(applied)
    }
}
