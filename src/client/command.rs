use super::Client;
use crate::{
    client::{OpenError, Refusal, open::check_age},
    command::{AppliedCommand, Command, CommandError, MAX_LEN},
    key_ring::{KeyCache, KeyRing},
    message::{Header, Mode},
    siv, stack,
    state::{CannotChange, Order},
    store::Store,
    time::{Clock, Timestamp},
};
use zeroize::Zeroizing;

impl<R: KeyRing, S: Store, C: Clock> Client<R, S, C> {
    /// Whether a command that arrived may go before one that arrived earlier and could not be stored.
    ///
    /// Commands are opened in the order in which they arrive, so one that meets [`OpenError::Store`] holds up those behind
    /// it. Among them may be the very one that helps, on a full disk for instance. So a transport that has tried the
    /// waiting command once more, in vain, opens the next one for which this is true of every command that waits before
    /// it. That is an authentic command which takes keys away and brings none, and which was sent in a later second than
    /// the one that waits.
    ///
    /// # Security
    ///
    /// Once it is accepted, the waiting command is too old for ever ([`Refusal::Superseded`]). It is lost on purpose: what
    /// was taken away since must not come back with it. In the same second nothing overtakes, since there the order of
    /// arrival decides, and a key that was taken away would be put back.
    #[must_use]
    pub fn may_overtake(&self, command: &[u8], waiting: &[u8]) -> bool {
        let may = self.is_later_removal(command, waiting);
        stack::wipe::<{ stack::DEEP }>();
        may
    }

    #[inline(never)]
    fn is_later_removal(&self, command: &[u8], waiting: &[u8]) -> bool {
        let mut buffer = Zeroizing::new([0; MAX_LEN]);
        let Ok((header, body)) = self.decrypt_command(command, &mut buffer) else {
            return false;
        };
        let Ok(earlier) = Header::read(Mode::Symmetric, waiting) else {
            return false;
        };
        let is_next = matches!(self.state.order.place(header.sent, &header.tag), Order::Next);
        is_next && earlier.sent < header.sent && decode(header.sent, body).is_ok_and(|command| command.only_removes())
    }

    /// Whether a command that arrived is authentic, whatever its place in the order: nothing is changed. A transport that
    /// has to let commands wait lets only these.
    #[must_use]
    pub fn is_authentic_command(&self, command: &[u8]) -> bool {
        self.decrypt_command(command, &mut Zeroizing::new([0; MAX_LEN])).is_ok()
    }

    /// Decrypts a command into the buffer, and changes nothing.
    fn decrypt_command<'b>(
        &self,
        message: &[u8],
        buffer: &'b mut [u8; MAX_LEN],
    ) -> Result<(Header, &'b [u8]), Refusal> {
        // A command looks like a symmetric message in both modes.
        let header = Header::read(Mode::Symmetric, message)?;
        let sealed = Mode::Symmetric.body(message).unwrap_or_default();
        // Longer than any command, it is none of the key server's.
        let body = buffer.get_mut(..sealed.len()).ok_or(Refusal::NotAuthentic)?;
        body.copy_from_slice(sealed);
        header.open_body(self.state.identity.command_key(), body).map_err(|siv::NotAuthentic| Refusal::NotAuthentic)?;
        Ok((header, body))
    }

    /// Opens, checks, stores and applies a command (protocol page, section 6).
    pub(super) fn open_command(&mut self, message: &[u8]) -> Result<AppliedCommand, OpenError> {
        let opened = self.follow(message);
        // The client key was at work, and perhaps a new one.
        stack::wipe::<{ stack::DEEP }>();
        opened
    }

    #[inline(never)]
    fn follow(&mut self, message: &[u8]) -> Result<AppliedCommand, OpenError> {
        self.notice_time();
        self.erase_in_passing();
        let mut buffer = Zeroizing::new([0; MAX_LEN]);
        let (header, body) = self.decrypt_command(message, &mut buffer)?;
        self.carry_out(&header, body).inspect_err(|error| self.note_refusal(header.sent, error))
    }

    /// Checks, stores and applies a command that is authentic.
    fn carry_out(&mut self, header: &Header, body: &[u8]) -> Result<AppliedCommand, OpenError> {
        let sent = header.sent;
        match self.state.order.place(sent, &header.tag) {
            Order::Next => {}
            Order::Repeated => return Err(Refusal::Repeated.into()),
            Order::Older { newest } => return Err(Refusal::Superseded { newest }.into()),
        }
        // Nothing is held back for being dated ahead: the good commands behind it would then be too old. Time that was
        // learned may run fast, and an age limit that is held against it would lock the device out.
        let own_clock = self.time.own_clock();
        if let Some(now) = own_clock {
            check_age(now, sent, self.state.options.command_max_age)?;
        }

        let command = decode(sent, body).map_err(Refusal::Command)?;
        let applied = AppliedCommand::from(&command);
        let told = if let Command::SetTime(now) = command { Some(now) } else { None };
        // What a device without a clock learns from this very command.
        let changed_at = own_clock.or(told).unwrap_or_else(|| self.time.after(sent));
        let change = self.state.plan(command, sent, header.tag, changed_at).map_err(|error| match error {
            CannotChange::Command(error) => OpenError::Refused(Refusal::Command(error)),
            CannotChange::Full(full) => OpenError::Full(full),
        })?;
        self.save(&change).map_err(OpenError::Store)?;
        // Those that were previous before this; a new one begins at this very time.
        self.age_previous_keys(changed_at);
        self.state.commit(change);

        self.refresh_transitions();
        self.derived.clear();
        // Told an earlier time, the client still remembers what it opened that was dated later: it must not open that again
        // when its time comes.
        match told {
            Some(now) => self.time.set(now),
            None => self.time.learn(sent),
        }
        self.notice_time();
        // A device without a clock knows only now how late it is.
        self.erase_in_passing();
        Ok(applied)
    }
}

/// Reads a command, and its time as a part of what it says: one that no client may learn is refused like any other content.
fn decode(sent: Timestamp, body: &[u8]) -> Result<Command, CommandError> {
    if sent.is_plausible() { Command::decode(body) } else { Err(CommandError::NotATime) }
}
