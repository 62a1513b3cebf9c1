//! What becomes of what is intended, with real clients, with what can go wrong on the way.

mod world;

use crate::kit::database::{Database, on_both_databases};
use e4_keyserver::{
    model::{Access, RotationKind},
    store::Value,
};
use world::{DAY, Device, World};

on_both_databases!(
    a_device_is_confirmed_by_its_report_and_by_nothing_else,
    a_rotation_without_loss_waits_for_those_that_are_there,
    a_soft_rotation_is_at_once_and_the_key_before_opens_for_a_while,
    c13_who_loses_access_reads_nothing_that_follows,
    c13_a_withdrawn_device_is_out_and_the_thief_of_a_later_client_key_opens_nothing_of_before,
    c02_what_was_stored_and_never_published_goes_out_again_as_the_same_bytes,
    a_sleeper_of_a_year_gets_one_command_a_topic,
    what_is_intended_meanwhile_sends_nothing_more_to_a_device_that_is_away,
    a_device_that_never_reports_is_never_shown_as_confirmed,
    a_report_that_is_played_back_changes_nothing_and_has_the_device_asked,
    a_device_whose_disk_was_put_back_gets_what_it_lacks,
    a_database_that_was_put_back_stops_instead_of_sending,
    devices_that_sign_learn_of_each_other_and_move_to_a_new_server_key,
    a_round_of_somebody_whose_lease_is_gone_sends_nothing,
);

async fn a_device_is_confirmed_by_its_report_and_by_nothing_else(database: Database) {
    let mut world = World::new(database).await;
    let (pump, topic) = (world.device("pump").await, world.topic("a").await);
    world.settle().await;
    assert_eq!(world.standing(&pump).await, "confirmed", "it holds nothing, as it should");
    world.give(topic, &pump, Access::BOTH).await;
    let publications = world.round().await;
    assert_eq!(publications.len(), 1);
    world.publish(publications);
    assert_eq!(world.standing(&pump).await, "under way");
    // Its report from before the command says nothing.
    let stale = world.at(&pump).report();
    world.hear(&pump, stale).await;
    assert_eq!(world.standing(&pump).await, "under way");
    world.settle().await;
    assert_eq!(world.standing(&pump).await, "confirmed");
    world.at(&pump).seal("a", b"message");
}

async fn a_rotation_without_loss_waits_for_those_that_are_there(database: Database) {
    let mut world = World::new(database).await;
    let topic = world.topic("a").await;
    let (pump, panel, sleeper) =
        (world.device("pump").await, world.device("panel").await, world.device("sleeper").await);
    let old = world.silent("old").await;
    for id in [&pump, &panel, &sleeper, &old] {
        world.give(topic, id, Access::BOTH).await;
    }
    world.settle().await;
    world.at(&sleeper).is_there = false;
    let order = world.fleet.rotate(&world.boss, topic, RotationKind::Lossless).await.unwrap();
    world.at(&panel).is_there = false;
    world.settle().await;
    assert_eq!(world.state(order).await, "preparing", "two that were seen lately have not reported");
    world.live(600, 60).await;
    assert_eq!(world.state(order).await, "preparing");
    world.connect(&panel);
    world.live(60, 20).await;
    // The sleeper is missing until the policy's time is over.
    assert_eq!(world.state(order).await, "preparing");
    world.live(3_600, 60).await;
    assert_eq!(world.state(order).await, "switching");
    let detail = world.row("SELECT detail FROM orders WHERE id = $1", &[Value::from(order)]).await;
    assert!(detail.text(0).unwrap().contains("sleeper"), "it says who was missing: {detail:?}");
    let after = world.at(&pump).seal("a", b"after");
    assert!(world.at(&panel).opens("a", &after));
    assert!(!world.at(&sleeper).opens("a", &after));
    assert!(world.at(&old).opens("a", &after), "who does not report has it too");
    world.connect(&sleeper);
    world.live(60, 20).await;
    assert_eq!(world.state(order).await, "done");
    assert!(world.at(&sleeper).opens("a", &after));
    assert_eq!(world.standing(&sleeper).await, "confirmed");
}

async fn a_soft_rotation_is_at_once_and_the_key_before_opens_for_a_while(database: Database) {
    let mut world = World::new(database).await;
    let topic = world.topic("a").await;
    let (pump, panel) = (world.device("pump").await, world.device("panel").await);
    for id in [&pump, &panel] {
        world.give(topic, id, Access::BOTH).await;
    }
    world.settle().await;
    let before = world.at(&panel).seal("a", b"before");
    let order = world.fleet.rotate(&world.boss, topic, RotationKind::Soft).await.unwrap();
    world.live(2, 1).await;
    assert_eq!(world.state(order).await, "done");
    assert!(world.at(&pump).opens("a", &before));
    let later = world.at(&panel).seal("a", b"later");
    let order = world.fleet.rotate(&world.boss, topic, RotationKind::Hard).await.unwrap();
    world.live(2, 1).await;
    assert_eq!(world.state(order).await, "done");
    assert!(!world.at(&pump).opens("a", &later), "after a hard one it does not");
}

async fn c13_who_loses_access_reads_nothing_that_follows(database: Database) {
    let mut world = World::new(database).await;
    let topic = world.topic("a").await;
    let (pump, leaver) = (world.device("pump").await, world.device("leaver").await);
    for id in [&pump, &leaver] {
        world.give(topic, id, Access::BOTH).await;
    }
    world.settle().await;
    world.at(&leaver).is_there = false;
    let orders = world.give(topic, &leaver, Access::default()).await;
    world.live(30, 5).await;
    assert_eq!(world.state(orders[0]).await, "done");
    let message = world.at(&pump).seal("a", b"after");
    assert!(!world.at(&leaver).opens("a", &message), "it kept its key, which is none any more");
}

async fn c13_a_withdrawn_device_is_out_and_the_thief_of_a_later_client_key_opens_nothing_of_before(database: Database) {
    let mut world = World::new(database).await;
    let topic = world.topic("a").await;
    let (pump, stolen) = (world.device("pump").await, world.device("stolen").await);
    for id in [&pump, &stolen] {
        world.give(topic, id, Access::BOTH).await;
    }
    world.settle().await;
    world.at(&stolen).is_there = false;
    let withdrawal = world.fleet.withdraw(&world.boss, &stolen, false).await.unwrap();
    world.live(5, 1).await;
    assert_eq!(world.state(withdrawal.order.unwrap()).await, "done");
    let message = world.at(&pump).seal("a", b"after");
    assert!(!world.at(&stolen).opens("a", &message));

    // What goes over the broker is recorded, and the disk of today is stolen tomorrow.
    let before = world.at(&pump).disk();
    // After a day the pump has another key of its own.
    world.live(DAY + 120, 60 * 12).await;
    let row =
        world.row("SELECT key_version, next_secret FROM devices WHERE id = $1", &[Value::from(pump.as_bytes())]).await;
    assert_eq!((row.int(0).unwrap(), row.opt_bytes(1).unwrap()), (2, None), "it moved on");
    assert_eq!(world.standing(&pump).await, "confirmed");
    let disk = world.at(&pump).disk();
    let brings_topic_key = |bytes: &Vec<u8>| bytes.len() == 24 + 49;
    let commands = world.recorded.iter().filter(|(id, _)| *id == pump).map(|(_, bytes)| bytes.clone());
    let commands: Vec<_> = commands.filter(brings_topic_key).collect();
    assert!(commands.len() >= 2);
    assert_eq!(Device::count_authentic(before, &commands, &world.hand), commands.len());
    assert_eq!(Device::count_authentic(disk, &commands, &world.hand), 0);
}

async fn c02_what_was_stored_and_never_published_goes_out_again_as_the_same_bytes(database: Database) {
    let mut world = World::new(database).await;
    let (pump, topic) = (world.device("pump").await, world.topic("a").await);
    world.settle().await;
    world.give(topic, &pump, Access::BOTH).await;
    // The server is killed between its commit and the broker.
    let lost: Vec<_> = world.round().await.into_iter().map(|it| it.bytes).collect();
    assert!(world.round().await.is_empty(), "it is not due again at once");
    world.pass(60);
    let again = world.round().await;
    assert_eq!(again.iter().map(|it| it.bytes.clone()).collect::<Vec<_>>(), lost);
    world.publish(again);
    world.settle().await;
    assert_eq!(world.standing(&pump).await, "confirmed");
}

async fn a_sleeper_of_a_year_gets_one_command_a_topic(database: Database) {
    let mut world = World::new(database).await;
    let (pump, sleeper) = (world.device("pump").await, world.device("sleeper").await);
    let topics = [world.topic("a").await, world.topic("b").await];
    for topic in topics {
        world.give(topic, &pump, Access::BOTH).await;
        world.give(topic, &sleeper, Access::BOTH).await;
    }
    world.settle().await;
    world.at(&sleeper).is_there = false;
    for _ in 0..36 {
        for topic in topics {
            world.fleet.rotate(&world.boss, topic, RotationKind::Soft).await.unwrap();
        }
        world.live(10 * DAY, 10 * DAY / 8).await;
        // The broker forgets.
        let device = world.at(&sleeper);
        assert!(device.queue.len() < 100);
        device.queue.clear();
    }
    assert_eq!(world.standing(&sleeper).await, "lapsed");
    let sent = world.recorded.len();
    world.connect(&sleeper);
    world.live(300, 10).await;
    assert_eq!(world.standing(&sleeper).await, "confirmed");
    let to_it: Vec<_> = world.recorded[sent..].iter().filter(|(id, _)| *id == sleeper).collect();
    // A question that finds out what became of what was sent before, and one command a topic; then a new key of its own.
    let bringing = to_it.iter().filter(|(_, bytes)| bytes.len() == 24 + 49).count();
    assert_eq!(bringing, topics.len(), "{} in all", to_it.len());
    let message = world.at(&pump).seal("a", b"today");
    assert!(world.at(&sleeper).opens("a", &message));
}

async fn what_is_intended_meanwhile_sends_nothing_more_to_a_device_that_is_away(database: Database) {
    let mut world = World::new(database).await;
    let (sleeper, topic) = (world.device("sleeper").await, world.topic("a").await);
    world.give(topic, &sleeper, Access::BOTH).await;
    world.settle().await;
    world.at(&sleeper).is_there = false;
    let sent = world.recorded.len();
    for _ in 0..5 {
        world.fleet.rotate(&world.boss, topic, RotationKind::Hard).await.unwrap();
        world.live(4, 1).await;
    }
    let to_it = world.recorded[sent..].iter().filter(|(id, _)| *id == sleeper).count();
    assert_eq!(to_it, 1, "one batch waits at the broker");
    world.connect(&sleeper);
    world.live(300, 10).await;
    assert_eq!(world.standing(&sleeper).await, "confirmed");
}

async fn a_device_that_never_reports_is_never_shown_as_confirmed(database: Database) {
    let mut world = World::new(database).await;
    let topic = world.topic("a").await;
    let (pump, old) = (world.device("pump").await, world.silent("old").await);
    for id in [&pump, &old] {
        world.give(topic, id, Access::BOTH).await;
    }
    world.settle().await;
    world.live(3_600, 60).await;
    let message = world.at(&pump).seal("a", b"message");
    assert!(world.at(&old).opens("a", &message), "it has the key");
    assert_eq!(world.standing(&old).await, "never confirmed");
    let sent: Vec<_> = world.recorded.iter().filter(|(id, _)| *id == old).map(|(_, bytes)| &bytes[..8]).collect();
    assert!(sent.len() >= 12 && sent.windows(2).all(|two| two[0] != two[1]), "it is sealed anew each time");
}

async fn a_report_that_is_played_back_changes_nothing_and_has_the_device_asked(database: Database) {
    let mut world = World::new(database).await;
    let (pump, topic) = (world.device("pump").await, world.topic("a").await);
    world.settle().await;
    let stale = world.at(&pump).report();
    world.give(topic, &pump, Access::BOTH).await;
    world.settle().await;
    world.pass(1);
    let judged = world.hear(&pump, stale.clone()).await;
    assert_eq!((judged.older, judged.accepted), (1, 0));
    assert_eq!(world.standing(&pump).await, "confirmed");
    let asked = world.round().await;
    assert_eq!(asked.len(), 1, "one question");
    assert_eq!(world.hear(&pump, stale).await.older, 1);
    assert!(world.round().await.is_empty(), "and not one for each report that is played back");
    world.publish(asked);
    world.settle().await;
    assert_eq!(world.standing(&pump).await, "confirmed");
    let judged = world.hear(&pump, vec![7; 83]).await;
    assert_eq!(judged.garbage, 1);
    assert_eq!(world.standing(&pump).await, "confirmed", "anybody can write there");
}

async fn a_device_whose_disk_was_put_back_gets_what_it_lacks(database: Database) {
    let mut world = World::new(database).await;
    let (pump, topic) = (world.device("pump").await, world.topic("a").await);
    world.give(topic, &pump, Access::BOTH).await;
    world.settle().await;
    let disk = world.at(&pump).disk();
    world.fleet.rotate(&world.boss, topic, RotationKind::Soft).await.unwrap();
    world.live(60, 20).await;
    world.at(&pump).put_disk_back(disk);
    world.live(180, 20).await;
    assert_eq!(world.standing(&pump).await, "confirmed");
    let panel = world.device("panel").await;
    world.give(topic, &panel, Access::BOTH).await;
    world.live(60, 20).await;
    let message = world.at(&panel).seal("a", b"message");
    assert!(world.at(&pump).opens("a", &message));
}

async fn a_database_that_was_put_back_stops_instead_of_sending(database: Database) {
    let mut world = World::new(database).await;
    let topic = world.topic("a").await;
    let mut ids = Vec::new();
    for name in ["one", "two", "three", "four", "five"] {
        ids.push(world.device(name).await);
    }
    for id in &ids {
        world.give(topic, id, Access::BOTH).await;
    }
    world.settle().await;
    let mut rows = Vec::new();
    for id in &ids {
        let sql = "SELECT lane_last, lane_used, report_newest, report_sent, id FROM devices WHERE id = $1";
        rows.push(world.row(sql, &[Value::from(id.as_bytes())]).await.into_values());
    }
    world.pass(100);
    world.fleet.rotate(&world.boss, topic, RotationKind::Soft).await.unwrap();
    world.live(60, 20).await;
    for row in rows {
        let sql =
            "UPDATE devices SET lane_last = $1, lane_used = $2, report_newest = $3, report_sent = $4 WHERE id = $5";
        world.change(sql, &row).await;
    }
    world.pass(100);
    for id in &ids {
        world.connect(id);
    }
    world.answer().await;
    assert_eq!(world.standing(&ids[0]).await, "ahead");
    assert!(world.fleet.held().await.unwrap().is_some(), "it is too many to be one device's matter");
    world.fleet.release(&world.boss).await.unwrap();
    world.live(60, 20).await;
    for id in &ids {
        assert_eq!(world.standing(id).await, "confirmed");
    }
}

async fn devices_that_sign_learn_of_each_other_and_move_to_a_new_server_key(database: Database) {
    let mut world = World::new(database).await;
    let topic = world.topic("a").await;
    let (pump, panel) = (world.signer("pump").await, world.signer("panel").await);
    world.give(topic, &pump, Access::WRITE).await;
    world.give(topic, &panel, Access::READ).await;
    world.live(60, 20).await;
    let message = world.at(&pump).seal("a", b"signed");
    assert!(world.at(&panel).opens("a", &message));
    let message = world.at(&panel).seal("a", b"not to write");
    assert!(!world.at(&pump).opens("a", &message));

    let order = world.fleet.rotate_server_key(&world.boss).await.unwrap();
    world.live(60, 20).await;
    assert_eq!(world.state(order).await, "done");
    for id in [&pump, &panel] {
        let sql = "SELECT server_key, next_server_key FROM devices WHERE id = $1";
        let row = world.row(sql, &[Value::from(id.as_bytes())]).await;
        assert_eq!((row.int(0).unwrap(), row.opt_int(1).unwrap()), (2, None));
        assert_eq!(world.standing(id).await, "confirmed");
    }
    // A new key of its own: its readers learn it.
    let order = world.fleet.rotate_client_key(&world.boss, &pump).await.unwrap();
    world.live(60, 20).await;
    assert_eq!(world.state(order).await, "done");
    let message = world.at(&pump).seal("a", b"signed anew");
    assert!(world.at(&panel).opens("a", &message));
}

async fn a_round_of_somebody_whose_lease_is_gone_sends_nothing(database: Database) {
    let mut world = World::new(database).await;
    let (pump, topic) = (world.device("pump").await, world.topic("a").await);
    world.give(topic, &pump, Access::BOTH).await;
    world.change("UPDATE leases SET fence = 8", &[]).await;
    assert!(world.round().await.is_empty());
    world.change("UPDATE leases SET fence = 7", &[]).await;
    assert!(!world.round().await.is_empty());
}
