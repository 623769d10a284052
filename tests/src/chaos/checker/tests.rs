use super::*;

fn log(user: &str) -> LogId {
    LogId::Inbox(user.parse().unwrap())
}

fn id(number: u64) -> MessageId {
    MessageId::from_u64(1_000_000 + number).unwrap()
}

fn stamp(number: u64) -> Stamp {
    Stamp::new("p", "a>b", number)
}

fn entry(seq: u64, number: u64) -> Seen {
    Seen::Entry { seq, id: id(number), stamp: Some(stamp(number)) }
}

fn ok(seq: u64, number: u64) -> Told {
    Told::Ok { id: Some(id(number)), places: vec![(log("b"), seq)] }
}

const FORKED: fn(u64) -> Seen = |seq| Seen::Reset { seq, reason: ResetReason::Forked };

/// Records `count` accepted messages to b that are in the log and that nobody has seen.
fn run(allowed: Allowed, count: u64) -> Checker {
    let mut checker = Checker::new(allowed);
    checker.follows("b/phone", &log("b"));
    for number in 1..=count {
        checker.sent(stamp(number), vec![log("b")]);
        checker.told(&stamp(number), ok(number, number));
        checker.stored(&log("b"), number, id(number), Some(stamp(number)));
    }
    checker
}

fn watch(checker: &mut Checker, seen: impl IntoIterator<Item = Seen>) {
    let reset = Seen::Reset { seq: 0, reason: ResetReason::New };
    for seen in std::iter::once(reset).chain(seen) {
        checker.seen("b/phone", &log("b"), seen);
    }
}

fn violations(seen: impl IntoIterator<Item = Seen>, stored: u64) -> Vec<Violation> {
    let mut checker = run(Allowed::default(), stored);
    watch(&mut checker, seen);
    checker.finish().violations
}

fn device() -> String {
    "b/phone".into()
}

#[test]
fn what_is_as_it_should_be_passes() {
    let mut checker = run(Allowed::default(), 3);
    watch(&mut checker, [entry(1, 1), entry(2, 2), entry(3, 3)]);
    let verdict = checker.finish();
    assert_eq!(verdict, Verdict { acknowledged: 3, received: 3, ..Verdict::default() });
}

#[test]
fn what_a_device_never_saw_is_lost() {
    assert_eq!(violations([entry(1, 1)], 2), [Violation::Lost(device(), log("b"), 2)]);
    let nothing_at_all = run(Allowed::default(), 1).finish();
    assert_eq!(nothing_at_all.violations, [Violation::Lost(device(), log("b"), 1)]);
}

#[test]
fn what_no_log_holds_is_not_logged() {
    let mut checker = run(Allowed::default(), 1);
    watch(&mut checker, [entry(1, 1)]);
    checker.sent(stamp(2), vec![log("b"), log("a")]);
    checker.told(&stamp(2), Told::Ok { id: None, places: vec![] });
    let missing = [Violation::NotLogged(log("b"), stamp(2)), Violation::NotLogged(log("a"), stamp(2))];
    assert_eq!(checker.finish().violations, missing);
}

#[test]
fn what_failed_or_was_not_told_may_be_there_once() {
    for stored in [false, true] {
        let mut checker = Checker::new(Allowed::default());
        checker.sent(stamp(1), vec![log("b")]);
        checker.sent(stamp(2), vec![log("b")]);
        checker.told(&stamp(1), Told::Failed);
        watch(&mut checker, stored.then(|| entry(1, 2)));
        if stored {
            checker.stored(&log("b"), 1, id(2), Some(stamp(2)));
        }
        let verdict = checker.finish();
        assert_eq!((verdict.violations, verdict.failed, verdict.untold), (vec![], 1, 1));
    }
}

#[test]
fn a_retry_with_two_effects_is_doubled() {
    let mut checker = run(Allowed::default(), 1);
    let twice = Seen::Entry { seq: 2, id: id(9), stamp: Some(stamp(1)) };
    watch(&mut checker, [entry(1, 1), twice]);
    checker.stored(&log("b"), 2, id(9), Some(stamp(1)));
    let violations = checker.finish().violations;
    // In the log and at the device.
    assert_eq!(violations, vec![Violation::Doubled(log("b"), stamp(1)); 2]);
}

#[test]
fn one_id_at_two_places_is_doubled() {
    let mut checker = run(Allowed::default(), 1);
    checker.sent(stamp(2), vec![log("b")]);
    checker.stored(&log("b"), 2, id(1), Some(stamp(2)));
    watch(&mut checker, [entry(1, 1), Seen::Entry { seq: 2, id: id(1), stamp: Some(stamp(2)) }]);
    assert_eq!(checker.finish().violations, vec![Violation::Doubled(log("b"), stamp(2)); 2]);
}

#[test]
fn an_entry_that_comes_again_is_repeated() {
    let seen = [entry(1, 1), entry(2, 2), entry(1, 1)];
    assert_eq!(violations(seen, 2), [Violation::Repeated(device(), log("b"), 1)]);
}

#[test]
fn entries_in_the_wrong_order_are_seen() {
    let seen = [entry(2, 2), entry(1, 1)];
    let expected = [Violation::Gap(device(), log("b"), 2), Violation::Repeated(device(), log("b"), 1)];
    assert_eq!(violations(seen, 2), expected);
}

#[test]
fn a_conversation_out_of_order_is_seen() {
    let mut checker = Checker::new(Allowed::default());
    for (seq, number) in [(1, 2), (2, 1)] {
        checker.sent(stamp(number), vec![log("b")]);
        checker.told(&stamp(number), ok(seq, number));
        checker.stored(&log("b"), seq, id(number), Some(stamp(number)));
    }
    watch(&mut checker, [entry(1, 2), entry(2, 1)]);
    let expected =
        ["the log", "b/phone"].map(|whose| Violation::OutOfOrder(whose.into(), log("b"), stamp(1)));
    assert_eq!(checker.finish().violations, expected);
}

#[test]
fn conversations_and_publishers_have_numbers_of_their_own() {
    let mut checker = Checker::new(Allowed::default());
    let stamps = [("p", "a>b", 7), ("p", "c>b", 1), ("q", "a>b", 1), ("p", "a>b", 8)];
    for (seq, (publisher, conversation, number)) in (1..).zip(stamps) {
        let stamp = Stamp::new(publisher, conversation, number);
        checker.sent(stamp.clone(), vec![log("b")]);
        checker.stored(&log("b"), seq, id(seq), Some(stamp.clone()));
        checker.seen("b/phone", &log("b"), Seen::Entry { seq, id: id(seq), stamp: Some(stamp) });
    }
    assert_eq!(checker.finish().violations, []);
}

#[test]
fn another_id_at_a_known_seq_is_seen() {
    // At the device, and not in the log.
    let other = Seen::Entry { seq: 1, id: id(9), stamp: Some(stamp(1)) };
    assert_eq!(violations([other], 1), [Violation::TwoIds(device(), log("b"), 1)]);
    // In a receipt.
    let mut checker = run(Allowed::default(), 1);
    watch(&mut checker, [entry(1, 1)]);
    checker.told(&stamp(1), Told::Ok { id: Some(id(9)), places: vec![(log("b"), 1)] });
    assert_eq!(checker.finish().violations, [Violation::TwoIds("a receipt".into(), log("b"), 1)]);
    // A replaced entry that comes although nothing was reset.
    let allowed = Allowed { lost_tail: true, resets: true };
    let mut checker = run(allowed, 1);
    checker.sent(stamp(2), vec![log("b")]);
    checker.stored(&log("b"), 1, id(2), Some(stamp(2)));
    watch(&mut checker, [entry(1, 1), Seen::Reopened { seq: 0 }, entry(1, 2)]);
    assert_eq!(checker.finish().violations, [Violation::TwoIds(device(), log("b"), 1)]);
}

#[test]
fn what_nobody_sent_is_invented() {
    let mut checker = run(Allowed::default(), 1);
    checker.stored(&log("b"), 2, id(2), Some(stamp(2)));
    checker.stored(&log("b"), 3, id(3), None);
    checker.sent(stamp(4), vec![log("a")]);
    checker.stored(&log("b"), 4, id(4), Some(stamp(4)));
    watch(
        &mut checker,
        [entry(1, 1), entry(2, 2), Seen::Entry { seq: 3, id: id(3), stamp: None }, entry(4, 4)],
    );
    let invented = [Some(stamp(2)), None, Some(stamp(4))].map(|stamp| Violation::Invented(log("b"), stamp));
    assert_eq!(checker.finish().violations, invented);
    // Only the device has it.
    let seen = [entry(1, 1), entry(2, 2)];
    assert_eq!(violations(seen, 1), [Violation::Invented(log("b"), Some(stamp(2)))]);
}

#[test]
fn a_reset_without_need_is_counted() {
    let mut checker = run(Allowed::default(), 2);
    watch(&mut checker, [entry(1, 1), FORKED(0), entry(1, 1), entry(2, 2)]);
    let verdict = checker.finish();
    assert_eq!(verdict.resets, 1);
    assert_eq!(verdict.violations, [Violation::NeedlessReset(device(), log("b"), 0)]);
}

#[test]
fn a_rolled_back_log_resets_whoever_saw_what_was_lost() {
    let allowed = Allowed { lost_tail: true, resets: true };
    let branch = |reset: bool| {
        let mut checker = run(allowed, 1);
        for number in [2, 3] {
            checker.sent(stamp(number), vec![log("b")]);
        }
        // The second was accepted and is lost; the third took its place.
        checker.told(&stamp(2), ok(2, 2));
        checker.stored(&log("b"), 2, id(3), Some(stamp(3)));
        watch(&mut checker, [entry(1, 1), entry(2, 2)]);
        if reset {
            for seen in [FORKED(0), entry(1, 1), entry(2, 3)] {
                checker.seen("b/phone", &log("b"), seen);
            }
        }
        checker.finish()
    };
    let verdict = branch(true);
    assert_eq!((verdict.violations, verdict.resets, verdict.rolled_back), (vec![], 1, 1));
    assert_eq!(branch(false).violations, [Violation::TwoIds(device(), log("b"), 2)]);
}

#[test]
fn resets_without_loss_still_miss_nothing() {
    let mut checker = run(Allowed { resets: true, lost_tail: false }, 2);
    checker.sent(stamp(3), vec![log("b")]);
    checker.told(&stamp(3), ok(3, 3));
    watch(&mut checker, [entry(1, 1), entry(2, 2)]);
    assert_eq!(checker.finish().violations, [Violation::NotLogged(log("b"), stamp(3))]);
}

#[test]
fn a_new_client_on_a_store_goes_on_behind_its_cursor() {
    let mut checker = run(Allowed::default(), 3);
    let seen = [entry(1, 1), entry(2, 2), Seen::Reopened { seq: 1 }, entry(2, 2), entry(3, 3)];
    watch(&mut checker, seen);
    let verdict = checker.finish();
    assert_eq!((verdict.violations, verdict.seen_again), (vec![], 1));

    let skipped = [entry(1, 1), entry(2, 2), Seen::Reopened { seq: 1 }, entry(3, 3)];
    assert_eq!(violations(skipped, 3), [Violation::Gap(device(), log("b"), 3)]);
    let too_far_back = [entry(1, 1), entry(2, 2), Seen::Reopened { seq: 2 }, entry(2, 2)];
    assert_eq!(violations(too_far_back, 2), [Violation::Repeated(device(), log("b"), 2)]);
    let acknowledged_more_than_it_had = [entry(1, 1), Seen::Reopened { seq: 2 }];
    let expected = [Violation::Gap(device(), log("b"), 2), Violation::Lost(device(), log("b"), 2)];
    assert_eq!(violations(acknowledged_more_than_it_had, 2), expected);
}
