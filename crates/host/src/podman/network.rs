//! Networks, as `podman network inspect` shows them, and how one like another is made.

use super::or_default;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, net::IpAddr};

/// What differs between two networks that are alike.
const OF_ITS_OWN: [&str; 3] = ["id", "created", "containers"];

/// A network that the account made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// `bridge`, `macvlan`, …
    pub driver: String,
    /// The bridge, or the interface that it is bound to.
    #[serde(default)]
    pub network_interface: String,
    /// Its address ranges.
    #[serde(default, deserialize_with = "or_default")]
    pub subnets: Vec<Subnet>,
    /// Where packets go that the gateway does not get.
    #[serde(default, deserialize_with = "or_default")]
    pub routes: Vec<Route>,
    /// Whether it has IPv6 too.
    #[serde(default)]
    pub ipv6_enabled: bool,
    /// Whether it leads nowhere else.
    #[serde(default)]
    pub internal: bool,
    /// Whether containers find each other by name.
    #[serde(default)]
    pub dns_enabled: bool,
    /// Who is asked for other names.
    #[serde(default, deserialize_with = "or_default")]
    pub network_dns_servers: Vec<String>,
    /// Its labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// The driver's options.
    #[serde(default, deserialize_with = "or_default")]
    pub options: BTreeMap<String, String>,
    /// `driver`: who hands out addresses.
    #[serde(default, deserialize_with = "or_default")]
    pub ipam_options: BTreeMap<String, String>,
    /// What else Podman says of it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// An address range of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// In CIDR notation.
    pub subnet: String,
    /// Its gateway's address.
    #[serde(default)]
    pub gateway: Option<String>,
    /// The addresses that are handed out; all if unset.
    #[serde(default)]
    pub lease_range: Option<LeaseRange>,
}

/// Addresses that are handed out, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRange {
    /// The first.
    pub start_ip: IpAddr,
    /// The last.
    pub end_ip: IpAddr,
}

/// A route that its containers have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// In CIDR notation.
    pub destination: String,
    /// The next hop.
    pub gateway: String,
    /// Its metric.
    #[serde(default)]
    pub metric: Option<u32>,
}

impl Network {
    /// Whether both are the same to their containers.
    #[must_use]
    pub fn is_like(&self, other: &Network) -> bool {
        let bare = |network: &Network| {
            let mut network = network.clone();
            network.more.retain(|key, _| !OF_ITS_OWN.contains(&&**key));
            if network.has_any_interface() {
                network.network_interface.clear();
            }
            network
        };
        bare(self) == bare(other)
    }

    /// Podman numbers the bridges that nobody named: `podman1`.
    fn has_any_interface(&self) -> bool {
        let number = self.network_interface.strip_prefix("podman");
        self.driver == "bridge" && number.is_some_and(|number| number.parse::<u32>().is_ok())
    }

    /// The words of the `podman` call that makes one like it. What only newer versions can be told is named only
    /// where the network has it.
    #[must_use]
    pub fn create_words(&self) -> Vec<String> {
        let mut words = vec!["network".to_owned(), "create".to_owned()];
        words.push(format!("--driver={}", self.driver));
        let ipam = self.ipam_options.get("driver");
        words.extend(ipam.map(|driver| format!("--ipam-driver={driver}")));
        if self.driver != "bridge" {
            words.push(format!("--opt=parent={}", self.network_interface));
        } else if !self.has_any_interface() && !self.network_interface.is_empty() {
            words.push(format!("--interface-name={}", self.network_interface));
        }
        for subnet in &self.subnets {
            words.push(format!("--subnet={}", subnet.subnet));
            let gateway = subnet.gateway.iter();
            words.extend(gateway.map(|gateway| format!("--gateway={gateway}")));
            let range = subnet.lease_range.iter();
            words.extend(range.map(|range| format!("--ip-range={}", range.word())));
        }
        words.extend(self.routes.iter().map(|route| {
            let metric = route.metric.map(|metric| format!(",{metric}"));
            let (to, by) = (&route.destination, &route.gateway);
            format!("--route={to},{by}{}", metric.unwrap_or_default())
        }));
        let servers = self.network_dns_servers.iter();
        words.extend(servers.map(|server| format!("--dns={server}")));
        let flags = [
            (self.ipv6_enabled, "--ipv6"),
            (self.internal, "--internal"),
            (!self.dns_enabled, "--disable-dns"),
        ];
        let flags = flags.into_iter().filter(|(on, _)| *on);
        words.extend(flags.map(|(_, flag)| flag.to_owned()));
        for (flag, pairs) in [("--label", &self.labels), ("--opt", &self.options)] {
            let word = |(key, value)| format!("{flag}={key}={value}");
            words.extend(pairs.iter().map(word));
        }
        words.push(self.name.clone());
        words
    }
}

impl LeaseRange {
    /// Podman 4.3 takes none but a subnet, whose own address it does not hand out.
    fn word(&self) -> String {
        let (before, width) = match self.start_ip {
            IpAddr::V4(ip) => (
                ip.to_bits().checked_sub(1).map(|ip| IpAddr::V4(ip.into())),
                32,
            ),
            IpAddr::V6(ip) => (
                ip.to_bits().checked_sub(1).map(|ip| IpAddr::V6(ip.into())),
                128,
            ),
        };
        if let Some(before) = before {
            let (address, end) = (bits(before), bits(self.end_ip));
            let hosts = address ^ end;
            if address & hosts == 0 && hosts.trailing_ones() == hosts.count_ones() {
                return format!("{before}/{}", width - hosts.count_ones());
            }
        }
        format!("{}-{}", self.start_ip, self.end_ip)
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(more: &str) -> Network {
        let own = r#""name": "n", "id": "ab", "driver": "bridge", "network_interface": "podman3", "labels": null"#;
        serde_json::from_str(&format!("{{{own}{more}}}")).unwrap()
    }

    #[test]
    fn what_a_network_has_is_asked_for_and_nothing_else() {
        let words = |more| network(more).create_words().join(" ");
        assert_eq!(words(""), "network create --driver=bridge --disable-dns n");
        let all = r#", "subnets": [{"subnet": "10.1.0.0/24", "gateway": "10.1.0.7",
            "lease_range": {"start_ip": "10.1.0.129", "end_ip": "10.1.0.255"}}, {"subnet": "fd00::/64"}],
            "routes": [{"destination": "10.9.0.0/16", "gateway": "10.1.0.9", "metric": 50}], "ipv6_enabled": true,
            "dns_enabled": true, "network_dns_servers": ["9.9.9.9"], "options": {"isolate": "true"},
            "ipam_options": {"driver": "host-local"}"#;
        assert_eq!(
            words(all),
            "network create --driver=bridge --ipam-driver=host-local --subnet=10.1.0.0/24 --gateway=10.1.0.7 \
             --ip-range=10.1.0.128/25 --subnet=fd00::/64 --route=10.9.0.0/16,10.1.0.9,50 --dns=9.9.9.9 --ipv6 \
             --opt=isolate=true n"
        );
    }

    #[test]
    fn an_interface_is_named_where_somebody_named_it() {
        let on = |driver: &str, interface: &str| {
            let network = Network {
                driver: driver.to_owned(),
                network_interface: interface.to_owned(),
                ..network("")
            };
            network.create_words()[3..].join(" ")
        };
        assert_eq!(on("bridge", "br0"), "--interface-name=br0 --disable-dns n");
        assert_eq!(on("macvlan", "eth0"), "--opt=parent=eth0 --disable-dns n");
        assert_eq!(
            on("macvlan", "podman3"),
            "--opt=parent=podman3 --disable-dns n"
        );
    }

    #[test]
    fn alike_is_all_but_what_podman_gives_each() {
        let other = Network {
            network_interface: "podman9".into(),
            ..network(r#", "created": "later", "containers": {}"#)
        };
        assert!(network("").is_like(&other));
        let named = Network {
            network_interface: "br0".into(),
            ..network("")
        };
        assert!(!network("").is_like(&named));
        assert!(!network("").is_like(&network(r#", "internal": true"#)));
        assert!(!network("").is_like(&network(r#", "of_a_later_version": 1"#)));
    }

    #[test]
    fn a_range_is_a_subnet_where_it_can_be() {
        let word = |start: &str, end: &str| {
            let [start_ip, end_ip] = [start, end].map(|ip| ip.parse().unwrap());
            LeaseRange { start_ip, end_ip }.word()
        };
        assert_eq!(word("10.0.0.1", "10.0.0.255"), "10.0.0.0/24");
        assert_eq!(word("10.0.0.129", "10.0.0.255"), "10.0.0.128/25");
        assert_eq!(word("fd00::1", "fd00::ffff"), "fd00::/112");
        assert_eq!(word("10.0.0.128", "10.0.0.140"), "10.0.0.128-10.0.0.140");
        assert_eq!(word("10.0.0.129", "10.0.0.254"), "10.0.0.129-10.0.0.254");
        assert_eq!(word("0.0.0.0", "0.0.0.9"), "0.0.0.0-0.0.0.9");
    }
}
