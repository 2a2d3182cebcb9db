//! Amounts of resources as whole numbers: thousandths of a CPU, bytes, pieces.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// CPU that a container without a request counts with when nodes are compared, in thousandths.
const DEFAULT_MILLI_CPU: i64 = 100;
/// Memory that a container without a request counts with when nodes are compared, in bytes.
const DEFAULT_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// Amounts of each resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    pub(crate) milli_cpu: i64,
    pub(crate) memory: i64,
    pub(crate) ephemeral: i64,
    pub(crate) others: BTreeMap<String, i64>,
}

impl Resources {
    /// From a list of quantities; "pods" is left out.
    pub(crate) fn of(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let mut all = Self::default();
        for (name, quantity) in list.into_iter().flatten() {
            match name.as_str() {
                "cpu" => all.milli_cpu = scaled(quantity, 1000),
                "memory" => all.memory = scaled(quantity, 1),
                "ephemeral-storage" => all.ephemeral = scaled(quantity, 1),
                "pods" => {}
                other => {
                    all.others.insert(other.to_owned(), scaled(quantity, 1));
                }
            }
        }
        all
    }

    fn combine(&mut self, other: &Self, with: impl Fn(i64, i64) -> i64) {
        self.milli_cpu = with(self.milli_cpu, other.milli_cpu);
        self.memory = with(self.memory, other.memory);
        self.ephemeral = with(self.ephemeral, other.ephemeral);
        for (name, amount) in &other.others {
            let own = self.others.entry(name.clone()).or_insert(0);
            *own = with(*own, *amount);
        }
    }

    /// Adds.
    pub(crate) fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    /// Takes away.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
    }

    /// Raises each amount to at least the other's.
    fn raise(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }
}

/// The quantity times `scale`, rounded up; what cannot be read counts as nothing, since validation keeps it out.
pub(crate) fn scaled(quantity: &Quantity, scale: i64) -> i64 {
    parse(&quantity.0, scale).unwrap_or(0)
}

fn parse(text: &str, scale: i64) -> Option<i64> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let negative = whole.starts_with('-');
    let digits = format!("{}{fraction}", whole.trim_start_matches(['+', '-']));
    let mantissa: i128 = if digits.is_empty() { return None } else { digits.parse().ok()? };
    let mut numerator = mantissa.checked_mul(i128::from(scale))?;
    let mut denominator = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let power = |base: i128, exponent: u32| base.checked_pow(exponent);
    match suffix {
        "" => {}
        "n" => denominator = denominator.checked_mul(1_000_000_000)?,
        "u" => denominator = denominator.checked_mul(1_000_000)?,
        "m" => denominator = denominator.checked_mul(1_000)?,
        "k" => numerator = numerator.checked_mul(1_000)?,
        "M" => numerator = numerator.checked_mul(power(10, 6)?)?,
        "G" => numerator = numerator.checked_mul(power(10, 9)?)?,
        "T" => numerator = numerator.checked_mul(power(10, 12)?)?,
        "P" => numerator = numerator.checked_mul(power(10, 15)?)?,
        "E" => numerator = numerator.checked_mul(power(10, 18)?)?,
        "Ki" => numerator = numerator.checked_mul(power(1024, 1)?)?,
        "Mi" => numerator = numerator.checked_mul(power(1024, 2)?)?,
        "Gi" => numerator = numerator.checked_mul(power(1024, 3)?)?,
        "Ti" => numerator = numerator.checked_mul(power(1024, 4)?)?,
        "Pi" => numerator = numerator.checked_mul(power(1024, 5)?)?,
        "Ei" => numerator = numerator.checked_mul(power(1024, 6)?)?,
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let size = power(10, exponent.unsigned_abs())?;
            if exponent < 0 { denominator = denominator.checked_mul(size)? } else { numerator = numerator.checked_mul(size)? }
        }
    }
    let rounded = (numerator + denominator - 1).div_euclid(denominator);
    let value = i64::try_from(rounded).unwrap_or(i64::MAX);
    Some(if negative { -value } else { value })
}

fn requests(resources: Option<&ResourceRequirements>) -> Resources {
    Resources::of(resources.and_then(|resources| resources.requests.as_ref()))
}

/// What a pod asks for, as it is fitted to nodes.
pub(crate) fn pod_requests(pod: &Pod) -> Resources {
    total(pod, |container| requests(container.resources.as_ref()))
}

/// What a pod is taken to use when nodes are compared: containers without a request count with a little.
pub(crate) fn pod_estimate(pod: &Pod) -> Resources {
    total(pod, |container| {
        let named = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let mut amounts = Resources::of(named);
        if !named.is_some_and(|named| named.contains_key("cpu")) {
            amounts.milli_cpu = DEFAULT_MILLI_CPU;
        }
        if !named.is_some_and(|named| named.contains_key("memory")) {
            amounts.memory = DEFAULT_MEMORY_BYTES;
        }
        amounts
    })
}

fn total(pod: &Pod, of_container: impl Fn(&Container) -> Resources) -> Resources {
    let Some(spec) = &pod.spec else { return Resources::default() };
    let mut sum = Resources::default();
    spec.containers.iter().for_each(|container| sum.add(&of_container(container)));
    // Init containers run one after the other, beside the sidecars that were started before them.
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut at_once = sidecars.clone();
        at_once.add(&of_container(container));
        peak.raise(&at_once);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars = at_once;
        }
    }
    sum.add(&sidecars);
    sum.raise(&peak);
    if let Some(whole) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
        let amounts = Resources::of(Some(whole));
        if whole.contains_key("cpu") {
            sum.milli_cpu = amounts.milli_cpu;
        }
        if whole.contains_key("memory") {
            sum.memory = amounts.memory;
        }
        sum.others.extend(amounts.others);
    }
    sum.add(&Resources::of(spec.overhead.as_ref()));
    sum
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities() {
        for (text, scale, expected) in [
            ("1", 1000, 1000),
            ("100m", 1000, 100),
            ("0.5", 1000, 500),
            ("1.5Gi", 1, 1_610_612_736),
            ("1e3", 1, 1000),
            ("12E", 1, i64::MAX),
            ("1m", 1, 1),
            ("100u", 1000, 1),
            ("nonsense", 1, 0),
            ("5k", 1, 5000),
        ] {
            assert_eq!(scaled(&Quantity(text.into()), scale), expected, "{text}");
        }
    }

    #[test]
    fn init_containers_count_by_their_peak_and_sidecars_stay() {
        let container = |name: &str, cpu: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = container("side", "200m");
        sidecar["restartPolicy"] = json!("Always");
        for (init, expected) in [
            (json!([container("i", "1500m")]), 1500 + 50),
            (json!([container("i", "100m")]), 1000 + 50),
            (json!([sidecar, container("i", "900m")]), 1200 + 50),
            (json!([sidecar, container("i", "1100m")]), 1300 + 50),
        ] {
            let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {
                "containers": [container("a", "600m"), container("b", "400m")],
                "initContainers": init, "overhead": {"cpu": "50m"},
            }}))
            .unwrap();
            assert_eq!(pod_requests(&pod).milli_cpu, expected, "{init}");
        }
    }

    #[test]
    fn the_estimate_is_never_nothing() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [{"name": "a"}]}})).unwrap();
        assert_eq!(pod_requests(&pod), Resources::default());
        assert_eq!(pod_estimate(&pod).milli_cpu, DEFAULT_MILLI_CPU);
    }
}
