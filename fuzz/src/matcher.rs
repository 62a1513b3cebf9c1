//! MQTT names and filters by the letter of the standard (MQTT 5 section 4.7), written without regard for speed.

/// Whether MQTT takes the text as a topic or a filter at all.
fn is_text(text: &str) -> bool {
    (1..=65_535).contains(&text.len()) && !text.contains('\0')
}

pub fn is_topic(text: &str) -> bool {
    is_text(text) && !text.contains('+') && !text.contains('#')
}

pub fn is_filter(text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    let alone = |wildcard: char| levels.iter().all(|level| level.len() == 1 || !level.contains(wildcard));
    let is_last = |(at, level): (usize, &&str)| *level != "#" || at + 1 == levels.len();
    is_text(text) && alone('+') && alone('#') && levels.iter().enumerate().all(is_last)
}

/// Whether the protocol gives the filter a key.
pub fn is_subtree(text: &str) -> bool {
    is_filter(text) && text.ends_with('#') && !text.contains('+')
}

/// Whether a filter matches a topic.
pub fn matches(filter: &str, topic: &str) -> bool {
    let starts_wild = filter.starts_with('+') || filter.starts_with('#');
    if topic.starts_with('$') && starts_wild {
        return false;
    }
    let (filter, topic): (Vec<&str>, Vec<&str>) = (filter.split('/').collect(), topic.split('/').collect());
    match filter.split_last() {
        Some((&"#", before)) => topic.len() >= before.len() && levels_match(before, &topic[..before.len()]),
        _ => levels_match(&filter, &topic),
    }
}

fn levels_match(filter: &[&str], topic: &[&str]) -> bool {
    filter.len() == topic.len() && filter.iter().zip(topic).all(|(wanted, level)| *wanted == "+" || wanted == level)
}
