//! The rules in built-in chains that lead into the proxy's own.

/// A jump: table, built-in chain, and rule.
pub(crate) struct Jump {
    pub(crate) table: &'static str,
    pub(crate) chain: &'static str,
    pub(crate) target: &'static str,
    pub(crate) matches: &'static str,
    /// Whether it must be first in its chain; else it goes to the end.
    pub(crate) first: bool,
}

const fn jump(table: &'static str, chain: &'static str, target: &'static str, matches: &'static str) -> Jump {
    Jump { table, chain, target, matches, first: true }
}

/// All jumps, each table's in the reverse of the order they end up in.
pub(crate) fn jumps() -> Vec<Jump> {
    let mut all = vec![
        jump("nat", "PREROUTING", "KUBE-SERVICES", "-m comment --comment \"kubernetes service portals\""),
        jump("nat", "OUTPUT", "KUBE-SERVICES", "-m comment --comment \"kubernetes service portals\""),
        jump("nat", "POSTROUTING", "KUBE-POSTROUTING", "-m comment --comment \"kubernetes postrouting rules\""),
        jump("filter", "INPUT", "KUBE-NODEPORTS", "-m comment --comment \"kubernetes health check service ports\""),
        jump("filter", "FORWARD", "KUBE-FORWARD", "-m comment --comment \"kubernetes forwarding rules\""),
        jump("filter", "INPUT", "KUBE-FIREWALL", ""),
        jump("filter", "OUTPUT", "KUBE-FIREWALL", ""),
    ];
    for (chain, target) in [
        ("FORWARD", "KUBE-SERVICES"),
        ("OUTPUT", "KUBE-SERVICES"),
        ("INPUT", "KUBE-EXTERNAL-SERVICES"),
        ("FORWARD", "KUBE-EXTERNAL-SERVICES"),
        ("INPUT", "KUBE-PROXY-FIREWALL"),
        ("OUTPUT", "KUBE-PROXY-FIREWALL"),
        ("FORWARD", "KUBE-PROXY-FIREWALL"),
    ] {
        all.push(jump("filter", chain, target, why(target)));
    }
    all.push(Jump { first: false, ..jump("nat", "POSTROUTING", "TRICORN-POSTROUTING", "") });
    all.push(Jump { first: false, ..jump("filter", "FORWARD", "TRICORN-FORWARD", "") });
    all
}

/// Only the first packet of a connection needs these.
fn why(target: &str) -> &'static str {
    match target {
        "KUBE-SERVICES" => "-m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\"",
        "KUBE-EXTERNAL-SERVICES" => "-m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\"",
        _ => "-m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\"",
    }
}

/// Restore text that adds the jumps of `table` that the saved rules `saved` lack; empty when all are there.
pub(crate) fn missing(table: &str, saved: &str) -> String {
    let there = |j: &Jump| {
        let (start, end) = (format!("-A {} ", j.chain), format!("-j {}", j.target));
        saved.lines().any(|line| line.starts_with(&start) && line.trim_end().ends_with(&end))
    };
    let lines: Vec<String> = jumps()
        .iter()
        .filter(|j| j.table == table && !there(j))
        .map(|j| {
            let verb = if j.first { format!("-I {} 1", j.chain) } else { format!("-A {}", j.chain) };
            format!("{verb} {} -j {}", j.matches, j.target).replace("  ", " ")
        })
        .collect();
    if lines.is_empty() { String::new() } else { format!("*{table}\n{}\nCOMMIT\n", lines.join("\n")) }
}

/// Restore text that takes away the jumps that `saved` has in `table`.
pub(crate) fn removal(table: &str, saved: &str) -> Vec<String> {
    let all = jumps();
    let ours = |line: &str| {
        all.iter().any(|j| {
            j.table == table && line.starts_with(&format!("-A {} ", j.chain)) && line.trim_end().ends_with(&format!("-j {}", j.target))
        })
    };
    saved.lines().filter(|line| ours(line)).map(|line| line.replacen("-A ", "-D ", 1)).collect()
}
