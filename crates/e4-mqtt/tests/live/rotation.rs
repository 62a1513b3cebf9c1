//! A key is changed while all publish and read: in two phases nothing is lost, in one phase something is.
//! `cargo run --release -p e4-mqtt --example rotation` does the same with more members, and for longer.

use crate::common::{
    Setup,
    rotation::{Group, Outcome, Pace, Way},
    scenario,
};
use std::time::Duration;

const MEMBERS: u32 = 6;
const ROTATIONS: u32 = 3;
/// Messages of each of the first half under the new key before the others have it.
const BETWEEN: u32 = 10;

async fn rotate(setup: &Setup, way: Way) -> Outcome {
    let pace = Pace { pause: Duration::from_millis(20), most: u32::MAX };
    let mut group = Group::begin(setup, setup.broker.port(), MEMBERS.try_into().unwrap(), pace).await;
    for _ in 0..ROTATIONS {
        group.rotate(way, BETWEEN).await;
    }
    group.end().await
}

scenario!(f59_a_rotation_in_two_phases_loses_nothing);
async fn f59_a_rotation_in_two_phases_loses_nothing(setup: Setup) {
    let outcome = rotate(&setup, Way::Lossless).await;
    assert!(outcome.sent >= u64::from(ROTATIONS * BETWEEN * MEMBERS / 2), "{outcome:?}");
    assert_eq!(outcome.read, outcome.sent * u64::from(MEMBERS), "{outcome:?}");
    assert_eq!((outcome.lost, outcome.refusals(), outcome.twice, outcome.out_of_order), (0, 0, 0, 0), "{outcome:?}");
}

scenario!(f59_a_rotation_in_one_phase_loses_what_goes_before_the_key: embedded_v5 mosquitto_v4);
async fn f59_a_rotation_in_one_phase_loses_what_goes_before_the_key(setup: Setup) {
    let outcome = rotate(&setup, Way::Alone).await;
    // The message that is under way when the key comes may have the one before.
    let at_least = ROTATIONS * (BETWEEN - 1) * (MEMBERS / 2) * (MEMBERS / 2);
    assert!(outcome.lost >= u64::from(at_least), "{outcome:?}");
    assert_eq!(outcome.refusals(), outcome.lost, "each of them was refused: {outcome:?}");
}
