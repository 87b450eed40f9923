//! In which order containers are started, and in reverse stopped. Pure.

use crate::step::Running;
use host::docker::Container;
use std::collections::BTreeMap;

/// The containers that run, each after all that it depends on: by compose's `depends_on` label, a
/// shared network or process namespace, links and `--volumes-from`. With each goes how many others
/// stand below it at most: those of one level do not depend on each other. A circle, which the engine
/// allows, is cut where it is entered.
pub fn start_order(containers: &[Container]) -> Vec<(usize, &Container)> {
    let mut levels = BTreeMap::new();
    let mut order: Vec<_> = containers
        .iter()
        .map(|container| (level(container, containers, &mut levels), container))
        .filter(|(_, container)| container.state.status == "running")
        .collect();
    order.sort_by_key(|(level, _)| *level);
    order
}

/// Those that run, in the order of their start.
pub fn running(containers: &[Container]) -> Vec<Running> {
    start_order(containers)
        .into_iter()
        .map(Running::of)
        .collect()
}

/// The ids of those that do not.
pub fn idle(containers: &[Container]) -> Vec<String> {
    let idle = containers
        .iter()
        .filter(|container| container.state.status != "running");
    idle.map(|container| container.id.clone()).collect()
}

fn level<'c>(
    container: &'c Container,
    all: &'c [Container],
    levels: &mut BTreeMap<&'c str, usize>,
) -> usize {
    if let Some(known) = levels.get(container.id.as_str()) {
        return *known;
    }
    levels.insert(&container.id, 0);
    let needed = all.iter().filter(|other| depends_on(container, other));
    let above = needed
        .map(|other| level(other, all, levels) + 1)
        .max()
        .unwrap_or(0);
    levels.insert(&container.id, above);
    above
}

fn depends_on(container: &Container, other: &Container) -> bool {
    let config = &container.host_config;
    let is_other = |word: &str| word == other.id || word == other.name();
    let namespace = |mode: &str| mode.strip_prefix("container:").is_some_and(is_other);
    let first_word = |text: &String| {
        text.split(':')
            .next()
            .is_some_and(|word| is_other(word.trim_start_matches('/')))
    };
    let joins = namespace(&config.network_mode) || namespace(&config.pid_mode);
    let named = config
        .volumes_from
        .iter()
        .chain(&config.links)
        .flatten()
        .any(first_word);
    container.id != other.id && (joins || named || compose_needs(container, other))
}

/// `com.docker.compose.depends_on` is `service:condition:restart[,…]`, of the same project.
fn compose_needs(container: &Container, other: &Container) -> bool {
    let label = |container: &Container, key: &str| {
        container
            .label(&format!("com.docker.compose.{key}"))
            .map(str::to_owned)
    };
    let (Some(needs), Some(service)) = (label(container, "depends_on"), label(other, "service"))
    else {
        return false;
    };
    label(container, "project") == label(other, "project")
        && needs
            .split(',')
            .any(|need| need.split(':').next() == Some(&service))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::container;

    #[test]
    fn what_is_needed_comes_first_and_what_is_stopped_is_left_out() {
        let compose = |service: &str, needs: &str| {
            serde_json::json!({"com.docker.compose.project": "p",
                "com.docker.compose.service": service, "com.docker.compose.depends_on": needs})
        };
        let all = [
            container("web", |c| {
                c["Config"]["Labels"] = compose("web", "db:service_healthy:false,cache")
            }),
            container("side", |c| {
                c["HostConfig"]["NetworkMode"] = "container:web".into()
            }),
            container("cache", |c| {
                c["Config"]["Labels"] = compose("cache", "");
                c["State"]["Status"] = "exited".into();
            }),
            container("db", |c| c["Config"]["Labels"] = compose("db", "")),
            container("old", |c| {
                c["HostConfig"]["Links"] = serde_json::json!(["/late:/old/l"])
            }),
            container("late", |_| {}),
        ];
        let names: Vec<_> = start_order(&all)
            .iter()
            .map(|(level, c)| (*level, c.name()))
            .collect();
        assert_eq!(
            names,
            [(0, "db"), (0, "late"), (1, "web"), (1, "old"), (2, "side")]
        );
    }

    #[test]
    fn another_projects_service_of_the_same_name_is_no_dependency() {
        let labels = |project: &str, needs: &str| {
            serde_json::json!({"com.docker.compose.project": project,
                "com.docker.compose.service": "db", "com.docker.compose.depends_on": needs})
        };
        let all = [
            container("a", |c| c["Config"]["Labels"] = labels("one", "db")),
            container("b", |c| c["Config"]["Labels"] = labels("two", "")),
        ];
        let names: Vec<_> = start_order(&all).iter().map(|(_, c)| c.name()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_circle_does_not_hang() {
        let all = [
            container("a", |c| {
                c["HostConfig"]["Links"] = serde_json::json!(["/b:/a/b"])
            }),
            container("b", |c| {
                c["HostConfig"]["Links"] = serde_json::json!(["/a:/b/a"])
            }),
        ];
        assert_eq!(start_order(&all).len(), 2);
    }
}
