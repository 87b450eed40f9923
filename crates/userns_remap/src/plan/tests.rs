//! What is planned for which host and wish.

use super::*;
use crate::{
    args::{CarryOver, MaskedData},
    observed::Masked,
    projects::ComposeProject,
    record::Record,
    samples::{args, container, entry, plain, remapped},
    step::{Configure, Step},
    verdict::Source,
    workload::Workload,
};
use serde_json::json;
use std::{collections::BTreeMap, path::Path};

pub const STAMP: &str = "2026-01-02@03:04:05";

fn names(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(Step::name).collect()
}

fn enabled(observed: &Observed) -> Plan {
    plan(&args(State::Enabled), observed, STAMP).unwrap()
}

fn disabled(observed: &Observed) -> Plan {
    plan(&args(State::Disabled), observed, STAMP).unwrap()
}

fn configured(plan: &Plan) -> &Configure {
    let found = plan.steps.iter().find_map(|step| match step {
        Step::Configure(change) => Some(change),
        _ => None,
    });
    found.unwrap()
}

#[test]
fn enabling_takes_every_step_in_an_order_that_can_be_undone() {
    let plan = enabled(&plain());
    assert_eq!(plan.refusals, Vec::<String>::new());
    assert_eq!(
        names(&plan),
        [
            "guard",
            "account",
            "stop_containers",
            "stop_engine",
            "hold",
            "prove_stopped",
            "move_root",
            "own",
            "shift",
            "rewrite_containers",
            "configure",
            "release",
            "start_engine",
            "verify_inventory",
            "start_containers",
        ]
    );
    assert_eq!(plan.data_root, Path::new("/var/lib/docker/165536.165536"));
    let change = configured(&plan);
    assert_eq!(
        change.after.as_deref(),
        Some("{\n    \"userns-remap\": \"default\"\n}\n")
    );
    assert_eq!(change.record_after.as_ref().unwrap().original, None);
}

#[test]
fn what_is_so_already_needs_no_step() {
    assert!(enabled(&remapped()).steps.is_empty() && enabled(&remapped()).refusals.is_empty());
    assert!(disabled(&plain()).steps.is_empty() && disabled(&plain()).refusals.is_empty());
}

#[test]
fn an_account_that_is_there_with_its_ranges_is_left_alone() {
    let mut observed = plain();
    observed.ids = remapped().ids;
    observed.ids.account = Some(host::accounts::Account {
        name: "dockremap".to_owned(),
        uid: 999,
        gid: 999,
        home: "/".into(),
        shell: "/".into(),
    });
    assert!(!names(&enabled(&observed)).contains(&"account"));
}

#[test]
fn another_user_than_the_default_has_to_exist() {
    let mut wish = args(State::Enabled);
    wish.user = "carol".to_owned();
    let mut observed = plain();
    observed.ids.name = "carol".to_owned();
    assert!(plan(&wish, &observed, STAMP).unwrap().refusals[0].contains("no account carol"));
}

#[test]
fn going_back_restores_the_file_byte_for_byte_unless_somebody_changed_it() {
    let mut observed = remapped();
    let original = Some("{\"a\":1 }".to_owned());
    observed.record = Some(Record {
        config_file: "/etc/docker/daemon.json".into(),
        original: original.clone(),
        written: observed.config.clone(),
        host_mode: vec![],
        overrides: vec![],
        maps: None,
        kept: None,
        bind_mounts: vec![],
        sysctls: vec![],
    });
    let plan = disabled(&observed);
    assert_eq!(configured(&plan).after, original);
    assert_eq!(configured(&plan).record_after, None);
    observed.config = Some("{\"userns-remap\": \"default\", \"b\": 2}".to_owned());
    assert_eq!(
        configured(&disabled(&observed)).after.as_deref(),
        Some("{\n    \"b\": 2\n}\n")
    );
}

#[test]
fn going_back_shifts_by_the_inverse_map() {
    let plan = disabled(&remapped());
    let shift = plan.shift.unwrap();
    assert_eq!(shift.maps.uid.to_host(165_536 + 999), Some(999));
    assert_eq!(
        shift.engine_root,
        Path::new("/var/lib/docker/165536.165536")
    );
    assert!(
        !plan.steps.iter().any(|step| step.name() == "account"),
        "its range stays its own"
    );
}

#[test]
fn ids_that_changed_since_are_refused_on_the_way_back() {
    let mut observed = remapped();
    observed.in_use.as_mut().unwrap().subuid =
        idmap::subid::Subids::parse(b"dockremap:300000:65536");
    let said = plan(&args(State::Disabled), &observed, STAMP)
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("165536") && said.contains("put the old ranges back"),
        "{said}"
    );
}

#[test]
fn former_attempts_are_refused_in_both_directions() {
    let mut observed = plain();
    observed
        .remapped_roots
        .insert("165536.165536".to_owned(), vec![entry("volumes")]);
    assert!(enabled(&observed).refusals[0].contains("165536.165536 already holds"));
    let mut observed = remapped();
    observed.root.push(entry("volumes"));
    assert!(disabled(&observed).refusals[0].contains("/var/lib/docker already holds"));
}

#[test]
fn a_stale_root_is_set_aside_where_that_is_wished() {
    let mut observed = plain();
    observed
        .remapped_roots
        .insert("165536.165536".to_owned(), vec![entry("volumes")]);
    let mut wish = args(State::Enabled);
    wish.masked_data = MaskedData::SetAside;
    let of = |observed: &Observed| plan(&wish, observed, STAMP).unwrap();
    let planned = of(&observed);
    assert_eq!(planned.refusals, Vec::<String>::new());
    let aside = Path::new("/var/lib/docker/165536.165536.set-aside-2026-01-02@030405");
    assert_eq!(planned.aside.as_deref(), Some(aside));
    let at = |name| names(&planned).iter().position(|step| *step == name);
    assert_eq!(at("set_root_aside").map(|at| at + 1), at("move_root"));
    // It is in nobody's way later, and told of.
    let mut later = remapped();
    let name = aside.file_name().unwrap().to_string_lossy();
    later.root.push(entry(&name));
    let back = disabled(&later);
    assert_eq!(back.refusals, Vec::<String>::new());
    assert!(back.warnings[0].contains(&*name));
    assert_eq!(of(&plain()).aside, None);
}

/// Remapped by hand: one container that runs now, and two that are masked.
fn switched_by_hand() -> Observed {
    let mut masked = plain();
    masked.containers = vec![
        container("dns", |_| {}),
        container("web", |c| c["State"]["Status"] = json!("exited")),
    ];
    let mut observed = remapped();
    observed.containers = vec![container("anew", |c| c["Id"] = json!("new-id"))];
    observed
        .remapped_roots
        .insert("165536.165536".to_owned(), vec![entry("volumes")]);
    observed.masked = Some(Masked::of(masked));
    observed
}

#[test]
fn masked_data_is_warned_of_and_adopted_where_that_is_wished() {
    let observed = switched_by_hand();
    let told = enabled(&observed);
    assert!(told.steps.is_empty() && told.refusals.is_empty());
    assert!(told.warnings[0].contains("2 containers") && told.warnings[0].contains("adopt"));

    let mut wish = args(State::Enabled);
    wish.masked_data = MaskedData::Adopt;
    let planned = plan(&wish, &observed, STAMP).unwrap();
    assert_eq!(planned.refusals, Vec::<String>::new());
    assert_eq!(
        planned.shift.as_ref().unwrap().engine_root,
        Path::new("/var/lib/docker")
    );
    for step in &planned.steps {
        let ids = |running: &[crate::step::Running]| -> Vec<_> {
            running
                .iter()
                .map(|container| container.id.clone())
                .collect()
        };
        match step {
            Step::StopContainers { running, .. } => assert_eq!(ids(running), ["new-id"]),
            Step::VerifyInventory(found) => assert_eq!(found.containers, ["dns-id", "web-id"]),
            Step::StartContainers { running, .. } => assert_eq!(ids(running), ["dns-id"]),
            _ => {}
        }
    }
    // The file as it is without the key: nobody knows what it was before.
    let record = configured(&planned).record_after.as_ref().unwrap();
    assert_eq!(record.original.as_deref(), Some("{}\n"));
}

#[test]
fn masked_data_is_not_adopted_by_an_engine_with_other_ids() {
    let mut observed = switched_by_hand();
    observed.configured = Some("alice".to_owned());
    let mut wish = args(State::Enabled);
    wish.masked_data = MaskedData::Adopt;
    let planned = plan(&wish, &observed, STAMP).unwrap();
    assert!(planned.refusals[0].contains("adopt before you change user or range"));
}

#[test]
fn masked_data_is_adopted_in_place_only() {
    let mut wish = args(State::Enabled);
    (wish.masked_data, wish.carry_over) = (MaskedData::Adopt, CarryOver::None);
    let of = |observed: &Observed| plan(&wish, observed, STAMP).unwrap().refusals;
    assert!(of(&switched_by_hand())[0].contains("in_place"));
    assert_eq!(of(&remapped()), Vec::<String>::new());
}

#[test]
fn only_a_container_whose_loss_is_allowed_is_lost() {
    let mut observed = plain();
    let brief = |name: &str| container(name, |c| c["HostConfig"]["AutoRemove"] = json!(true));
    observed.containers.extend([brief("brief"), brief("other")]);
    let mut wish = args(State::Enabled);
    wish.allow_loss = vec!["brief".to_owned(), "gone".to_owned()];
    let planned = plan(&wish, &observed, STAMP).unwrap();
    assert_eq!(planned.refusals.len(), 1, "{:?}", planned.refusals);
    assert!(planned.refusals[0].contains("container other was started with --rm"));
    assert!(
        planned
            .warnings
            .iter()
            .any(|warning| warning.contains("container brief"))
    );
    for step in &planned.steps {
        match step {
            Step::StopContainers { running, .. } => {
                let removed = running.iter().filter(|container| container.removed);
                assert_eq!(
                    removed.map(|container| &container.name).collect::<Vec<_>>(),
                    ["brief"]
                );
                assert_eq!(running.len(), 3);
            }
            Step::VerifyInventory(found) => assert_eq!(found.containers, ["other-id", "web-id"]),
            Step::StartContainers { running, .. } => assert_eq!(running.len(), 2),
            _ => {}
        }
    }
}

#[test]
fn leaving_everything_behind_moves_nothing_and_says_so() {
    let mut wish = args(State::Enabled);
    wish.carry_over = CarryOver::None;
    let mut observed = plain();
    observed.containers.push(container("vpn", |c| {
        c["HostConfig"]["Privileged"] = json!(true)
    }));
    let plan = plan(&wish, &observed, STAMP).unwrap();
    assert_eq!(plan.refusals, Vec::<String>::new());
    assert!(!names(&plan).contains(&"move_root") && plan.shift.is_none());
    assert!(plan.warnings[0].contains("2 containers") && plan.warnings[0].contains("stay behind"));
}

#[test]
fn a_bind_mount_that_container_root_could_not_write_is_warned_of() {
    let own = |observed: &mut Observed, uid| {
        let source = Source {
            uid,
            mode: 0o755,
            ..Source::default()
        };
        observed.facts.sources.insert("/srv/x".into(), source);
    };
    let mut observed = plain();
    own(&mut observed, 0);
    observed.containers = vec![container("web", |c| {
        c["Mounts"] = json!([{"Type": "bind", "Source": "/srv/x", "RW": true}]);
    })];
    assert!(enabled(&observed).warnings[0].contains("/srv/x"));
    own(&mut observed, 165_536);
    assert!(enabled(&observed).warnings.is_empty());
}

#[test]
fn a_backup_is_made_only_of_a_file_that_changes() {
    let mut wish = args(State::Enabled);
    wish.backup = true;
    let of = |observed: &Observed| {
        configured(&plan(&wish, observed, STAMP).unwrap())
            .backup
            .clone()
    };
    assert_eq!(of(&plain()), None);
    let mut observed = plain();
    observed.config = Some("{}".to_owned());
    let name = of(&observed).unwrap();
    assert_eq!(
        name,
        Path::new("/etc/docker/daemon.json.2026-01-02@03:04:05~")
    );
}

#[test]
fn a_setting_that_the_engine_never_took_up_is_only_taken_out_of_the_file() {
    let mut observed = plain();
    observed.config = remapped().config;
    observed.configured = Some("default".to_owned());
    assert_eq!(names(&disabled(&observed)), ["configure"]);
}

#[test]
fn a_container_named_in_host_mode_is_set_to_it_and_back() {
    let mut observed = plain();
    observed.containers.push(container("vpn", |c| {
        c["HostConfig"]["NetworkMode"] = json!("host");
        c["Mounts"] = json!([{"Type": "volume", "Name": "keys", "Source": "/v"}]);
    }));
    assert!(enabled(&observed).refusals[0].contains("vpn"));
    let mut wish = args(State::Enabled);
    wish.host_mode = vec!["vpn".to_owned()];
    let plan = super::plan(&wish, &observed, STAMP).unwrap();
    assert_eq!(plan.refusals, Vec::<String>::new());
    let set = |plan: &Plan| {
        let found = plan.steps.iter().find_map(|step| match step {
            Step::SetHostMode {
                engine_root,
                containers,
                host,
            } => Some((engine_root.clone(), containers.clone(), *host)),
            _ => None,
        });
        found.unwrap()
    };
    assert_eq!(
        set(&plan),
        (
            "/var/lib/docker/165536.165536".into(),
            vec!["vpn-id".to_owned()],
            true
        )
    );
    assert_eq!(plan.shift.as_ref().unwrap().keep.volumes, ["keys"]);
    let record = configured(&plan).record_after.clone();
    assert_eq!(record.as_ref().unwrap().host_mode, ["vpn-id"]);

    let back = disabled(&Observed {
        record,
        ..remapped()
    });
    assert_eq!(
        set(&back),
        ("/var/lib/docker".into(), vec!["vpn-id".to_owned()], false)
    );
    assert_eq!(configured(&back).record_after, None);
}

#[test]
fn a_name_that_nobody_has_is_refused() {
    let mut wish = args(State::Enabled);
    wish.host_mode = vec!["nobody".to_owned()];
    let of = |observed: &Observed| plan(&wish, observed, STAMP).unwrap().refusals;
    assert!(of(&plain())[0].contains("nobody") && of(&remapped())[0].contains("nobody"));
    // Its files have been shifted by now.
    wish.host_mode = vec!["web".to_owned()];
    assert!(plan(&wish, &remapped(), STAMP).unwrap().refusals[0].contains("web"));
}

fn shop(text: Option<&str>) -> ComposeProject {
    let yaml = "{name: shop, services: {firewall: {privileged: true}, web: {image: web}}}";
    let resolved = host::compose::Resolved::parse(yaml).unwrap();
    ComposeProject {
        directory: "/opt/shop".into(),
        services: Workload::of_project(&resolved).collect(),
        path: "/opt/shop/docker-compose.override.yml".into(),
        text: text.map(str::to_owned),
        knows_reset: true,
    }
}

#[test]
fn services_that_need_it_are_set_to_host_mode_with_their_containers_and_back() {
    let mut observed = plain();
    observed.projects = vec![shop(Some("# ours\n"))];
    observed.containers.push(container("shop_firewall_1", |c| {
        c["HostConfig"]["Privileged"] = json!(true);
        c["Config"]["Labels"] =
            json!({"com.docker.compose.project": "shop", "com.docker.compose.service": "firewall"});
    }));
    let plan = enabled(&observed);
    assert_eq!(plan.refusals, Vec::<String>::new());
    // Before anything stops.
    assert_eq!(
        names(&plan)[..4],
        ["guard", "account", "overrides", "stop_containers"]
    );
    let record = configured(&plan).record_after.clone().unwrap();
    assert_eq!(record.host_mode, ["shop_firewall_1-id"]);
    let written = record.overrides[0].after.clone();
    assert_eq!(
        written.as_deref(),
        Some("# ours\nservices:\n  firewall:\n    userns_mode: \"host\"\n")
    );

    let path = record.overrides[0].path.clone();
    let later = |text: Option<String>| Observed {
        record: Some(record.clone()),
        overrides: BTreeMap::from([(path.clone(), text)]),
        ..remapped()
    };
    let back = disabled(&later(written));
    let Some(Step::Overrides(changes)) = back.steps.iter().find(|step| step.name() == "overrides")
    else {
        panic!()
    };
    assert_eq!(changes[0].after.as_deref(), Some("# ours\n"));
    let changed = disabled(&later(Some("services: {}".to_owned())));
    assert!(!names(&changed).contains(&"overrides"));
    assert!(
        changed
            .warnings
            .iter()
            .any(|warning| warning.contains("changed since"))
    );
}

#[test]
fn a_project_that_says_so_already_is_left_alone() {
    let mut observed = plain();
    observed.projects = vec![shop(Some(
        "services:\n  firewall:\n    userns_mode: host\n",
    ))];
    assert!(!names(&enabled(&observed)).contains(&"overrides"));
}

fn tuned(knows_reset: bool) -> Observed {
    let yaml = "{name: shop, services: {web: {image: web, sysctls: {net.x: 1}}, db: {sysctls: {net.y: 2}}}}";
    let resolved = host::compose::Resolved::parse(yaml).unwrap();
    let mut observed = plain();
    observed.projects = vec![ComposeProject {
        services: Workload::of_project(&resolved).collect(),
        knows_reset,
        ..shop(None)
    }];
    observed.containers = vec![container("shop-web-1", |c| {
        c["HostConfig"]["Sysctls"] = json!({"net.x": "1", "net.y": "2"});
        c["Config"]["Labels"] =
            json!({"com.docker.compose.project": "shop", "com.docker.compose.service": "web"});
    })];
    observed.facts.sysctls = BTreeMap::from([
        ("net.x".to_owned(), Some("no such file".to_owned())),
        ("net.y".to_owned(), None),
    ]);
    observed
}

#[test]
fn kernel_parameters_that_are_refused_are_taken_away_from_services_and_given_back() {
    let planned = enabled(&tuned(true));
    assert_eq!(planned.refusals, Vec::<String>::new());
    let record = configured(&planned).record_after.clone().unwrap();
    let text = record.overrides[0].after.as_deref();
    assert_eq!(text, Some("services:\n  web:\n    sysctls: !reset []\n"));
    let set = |plan: &Plan| {
        let found = plan.steps.iter().find_map(|step| match step {
            Step::SetSysctls { containers, on, .. } => Some((containers.clone(), *on)),
            _ => None,
        });
        found.unwrap()
    };
    let (taken, on) = set(&planned);
    assert!(!on && taken[0].container == "shop-web-1-id" && taken[0].values["net.y"] == "2");
    let back = disabled(&Observed {
        record: Some(record),
        ..remapped()
    });
    assert_eq!(set(&back), (taken, true));
}

#[test]
fn kernel_parameters_that_are_refused_stand_in_the_way_where_nothing_can_take_them_away() {
    let mut observed = tuned(true);
    observed.projects.clear();
    assert!(enabled(&observed).refusals[0].contains("sets net.x"));
    let error = plan(&args(State::Enabled), &tuned(false), STAMP).unwrap_err();
    assert!(error.to_string().contains("by hand"), "{error}");
}

#[test]
fn links_are_made_of_what_is_named_and_removed_before_the_way_back() {
    let named = |mut observed: Observed| {
        observed.references = vec![crate::references::Reference {
            file: "/etc/cron.d/x".into(),
            line: 1,
            text: "tar c /var/lib/docker/volumes/*/_data /var/lib/docker/plugins/x".to_owned(),
        }];
        observed
    };
    let links = |plan: &Plan| -> Vec<_> {
        let found = plan.steps.iter().filter_map(|step| match step {
            Step::CompatLinks { names, make, .. } => Some((names.clone(), *make)),
            _ => None,
        });
        found.collect()
    };
    let volumes = vec!["volumes".to_owned()];
    // There are no plugins.
    assert_eq!(links(&enabled(&named(plain()))), [(volumes.clone(), true)]);
    assert_eq!(links(&enabled(&plain())), []);

    let mut later = named(remapped());
    later
        .remapped_roots
        .insert("165536.165536".to_owned(), vec![entry("volumes")]);
    assert_eq!(names(&enabled(&later)), ["compat_links"]);
    later.compat_links.clone_from(&volumes);
    assert!(enabled(&later).steps.is_empty());
    for carry_over in [CarryOver::InPlace, CarryOver::None] {
        let mut wish = args(State::Disabled);
        wish.carry_over = carry_over;
        let back = plan(&wish, &later, STAMP).unwrap();
        assert_eq!(links(&back), [(volumes.clone(), false)]);
    }
}
