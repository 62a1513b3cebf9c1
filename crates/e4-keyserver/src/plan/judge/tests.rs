use super::*;
use crate::{
    model::Mode,
    plan::{Held, WantedTopic, digest_of},
};
use e4::{
    Client, ClientId, ClientKey, Identity, MemoryStore, TopicHash,
    controller::{Recipient, RefusedCommand},
};

const FEATURES: Features = Features { mode: Mode::Symmetric, reports: true, knows_next_keys: true };
const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// Any report.
fn report() -> Report {
    let (id, key) = (ClientId::from_name("device").unwrap(), ClientKey::from_bytes(&[1; 32]).unwrap());
    let client =
        Client::builder(Identity::symmetric(id, key.clone())).first_start().create(MemoryStore::new()).unwrap();
    Recipient::symmetric(id, &key).open_report(&client.report()).unwrap()
}

fn with(mut report: Report, change: impl FnOnce(&mut Report)) -> Report {
    change(&mut report);
    report
}

fn topic(number: u16) -> TopicHash {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    TopicHash::from_bytes(bytes)
}

/// Digests of keys that never were: any 16 bytes do that no others add up to.
fn of_entry(entry: Entry) -> Option<StateDigest> {
    use sha3::{Digest, Sha3_256};
    let hash = Sha3_256::digest(format!("{entry:?}"));
    hash.first_chunk().copied().map(StateDigest::from_bytes)
}

fn holdings(topics: impl IntoIterator<Item = (u16, u32)>) -> Holdings {
    let topics = topics.into_iter().map(|(number, current)| (topic(number), Held { current, next: None }));
    Holdings { topics: topics.collect(), ..Holdings::default() }
}

fn wanted(topics: impl IntoIterator<Item = (u16, u32)>) -> Wanted {
    let topics = topics
        .into_iter()
        .map(|(number, current)| (topic(number), WantedTopic { current, next: None, cut: 0, around: 0 }));
    Wanted { topics: topics.collect(), ..Wanted::default() }
}

/// Sealed one a second.
fn outbox(steps: impl IntoIterator<Item = Step>) -> Vec<Outstanding> {
    let sent = |(at, step): (usize, Step)| Outstanding {
        step,
        sent: NOW.plus(at as u64),
        v: [u8::try_from(at % 250).unwrap() + 1; 16],
        repeatable: true,
    };
    steps.into_iter().enumerate().map(sent).collect()
}

/// The report of a device that holds this and has taken the last of what was sent.
fn after(outbox: &[Outstanding], holds: &Holdings) -> Report {
    let last = outbox.last().map_or((NOW, [0; 16]), |last| (last.sent, last.v));
    with(report(), |report| {
        (report.newest, report.newest_v) = last;
        report.digest = digest_of(holds, &of_entry).unwrap();
    })
}

fn judged(report: &Report, known: &Known, outbox: &[Outstanding], wanted: &Wanted) -> Judgement {
    let lane_last = outbox.last().map_or(NOW, |last| last.sent);
    judge(&Heard { report, new_key: false, lane_last }, known, outbox, wanted, &FEATURES, &of_entry)
}

fn set(number: u16, version: u32) -> Step {
    Step::SetTopic { topic: topic(number), version }
}

#[test]
fn only_the_wanted_digest_after_the_last_command_is_confirmed() {
    let (known, wanted) = (Known::new(holdings([(1, 1)])), wanted([(1, 2)]));
    let outbox = outbox([set(1, 2)]);
    let holds = holdings([(1, 2)]);
    let good = after(&outbox, &holds);
    assert_eq!(judged(&good, &known, &outbox, &wanted).verdict, Verdict::Confirmed(holds.clone()));
    // The same keys as before, by a way there and back.
    let early = with(good, |report| report.newest = Timestamp::from_unix(NOW.as_unix() - 1));
    assert_eq!(judged(&early, &known, &outbox, &wanted).verdict, Verdict::UnderWay);
    let other = with(good, |report| report.newest_v = [9; 16]);
    assert_eq!(judged(&other, &known, &outbox, &wanted).verdict, Verdict::UnderWay, "another command of that second");
    let moving = Wanted { new_client_key: Some(2), ..wanted.clone() };
    assert_eq!(judged(&good, &known, &outbox, &moving).verdict, Verdict::Holds(holds), "it has its old key");
    let strange = with(good, |report| report.digest = StateDigest::default());
    assert_eq!(judged(&strange, &known, &outbox, &wanted).verdict, Verdict::Unknown);
}

#[test]
fn of_450_commands_any_two_may_be_lost_or_all_from_some_point_on() {
    let known = Known::new(holdings((0..450).map(|number| (number, 1))));
    let wanted = wanted((0..450).map(|number| (number, 2)));
    let outbox = outbox((0..450).map(|number| set(number, 2)));
    let lost: [&dyn Fn(u16) -> bool; 6] = [
        &|at| at == 449,
        &|at| at == 7 || at == 200,
        &|at| at >= 123,
        &|at| at < 40,
        &|at| at >= 123 || at == 5,
        &|_| true,
    ];
    for (case, lost) in lost.iter().enumerate() {
        let holds = holdings((0..450).map(|number| (number, if lost(number) { 1 } else { 2 })));
        let judgement = judged(&after(&outbox, &holds), &known, &outbox, &wanted);
        assert_eq!(judgement.verdict, Verdict::Holds(holds), "case {case}");
    }
}

#[test]
fn whatever_is_lost_of_a_few_commands_is_found() {
    let known = Known::new(holdings([(1, 1), (2, 1)]));
    let steps = [
        set(1, 2),
        Step::SetNext { topic: topic(1), version: 3 },
        Step::RemoveTopic { topic: topic(2) },
        set(2, 5),
        set(3, 1),
        Step::Replace { topic: topic(3), version: 2 },
        Step::Question { new_key: false },
    ];
    let (outbox, wanted) = (outbox(steps), wanted([(1, 9)]));
    for subset in 0..1 << steps.len() {
        let taken = steps.iter().enumerate().filter(|(at, _)| subset & (1 << at) != 0).map(|(_, step)| step);
        let holds = known.states[0].after(taken);
        let verdict = judged(&after(&outbox, &holds), &known, &outbox, &wanted).verdict;
        assert_eq!(verdict, Verdict::Holds(holds), "{subset:b}");
    }
}

#[test]
fn a_disk_that_was_put_back_is_recognised_and_so_is_what_came_after() {
    let mut known = Known::new(holdings([(1, 3)]));
    known.older = vec![holdings([(1, 2)]), holdings([(1, 1), (2, 1)])];
    let outbox = outbox([set(3, 1)]);
    for older in &known.older {
        for holds in [older.clone(), older.after(&[set(3, 1)])] {
            let verdict = judged(&after(&outbox, &holds), &known, &outbox, &wanted([(1, 3), (3, 1)])).verdict;
            assert_eq!(verdict, Verdict::Holds(holds));
        }
    }
}

#[test]
fn what_was_set_anew_is_known_again_even_if_some_of_it_was_lost() {
    let known = Known::default();
    let steps = [Step::ResetTopics, set(1, 2), set(2, 2), set(3, 2)];
    let (outbox, wanted) = (outbox(steps), wanted([(1, 2), (2, 2), (3, 2)]));
    let holds = holdings([(1, 2), (3, 2)]);
    assert_eq!(judged(&after(&outbox, &holds), &known, &outbox, &wanted).verdict, Verdict::Holds(holds));
    // The reset was lost: nobody knows what was there.
    let holds = holdings([(1, 2), (2, 2), (3, 2), (4, 1)]);
    assert_eq!(judged(&after(&outbox, &holds), &known, &outbox, &wanted).verdict, Verdict::Unknown);
}

#[test]
fn a_device_that_took_newer_commands_than_these_is_ahead_unless_it_was_made_later() {
    let known = Known::new(holdings([]));
    let newer = with(report(), |report| (report.newest, report.newest_v) = (NOW.plus(1), [7; 16]));
    assert_eq!(judged(&newer, &known, &[], &wanted([])).verdict, Verdict::Ahead);
    let made_later = with(newer, |report| report.newest_v = [0; 16]);
    assert!(matches!(judged(&made_later, &known, &[], &wanted([])).verdict, Verdict::Confirmed(_)));
}

#[test]
fn a_last_command_that_was_refused_is_followed_by_a_question_and_has_a_name() {
    let known = Known::new(holdings([]));
    let (outbox, wanted) = (outbox([set(1, 1)]), wanted([(1, 1)]));
    for (why, ask, trouble) in [
        (WhyRefused::NoRoomForTopics, true, Some(Standing::NoRoom)),
        (WhyRefused::Content, true, Some(Standing::Refuses)),
        (WhyRefused::NotStored, false, Some(Standing::CannotStore)),
    ] {
        let refused = Some(RefusedCommand { why, sent: NOW });
        let report = with(after(&[], &holdings([])), |report| {
            (report.newest, report.refused) = (Timestamp::from_unix(NOW.as_unix() - 9), refused);
        });
        let judgement = judged(&report, &known, &outbox, &wanted);
        assert_eq!((judgement.verdict, judgement.ask, judgement.trouble), (Verdict::UnderWay, ask, trouble), "{why:?}");
        assert!(!judgement.progress);
    }
}

#[test]
fn a_question_settles_nothing_and_is_waited_for_by_nobody() {
    let (known, wanted) = (Known::new(holdings([(1, 1)])), wanted([(1, 2)]));
    let outbox = outbox([set(1, 2), Step::Question { new_key: false }]);
    let holds = holdings([(1, 2)]);
    let report = after(&outbox[..1], &holds);
    assert_eq!(judged(&report, &known, &outbox, &wanted).verdict, Verdict::Confirmed(holds));
    // It took the question only: the command before is too old now.
    let report = after(&outbox, &holdings([(1, 1)]));
    assert_eq!(judged(&report, &known, &outbox, &wanted).verdict, Verdict::Holds(holdings([(1, 1)])));
}
