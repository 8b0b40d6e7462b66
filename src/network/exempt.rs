//! Which hosts are reached without a proxy: the entries of `no_proxy`.

use std::net::IpAddr;
use std::sync::Arc;

use hyper_util::client::proxy::matcher::Matcher;

/// Matches the hosts that the comma-separated `exempt` does not name; none if it names all.
pub(super) fn through(exempt: &str) -> Option<Arc<Matcher>> {
    let entries = exempt.split(',').map(str::trim);
    // The matcher knows IPv6 addresses without brackets, and `*` for names only.
    let bare: Vec<_> = entries
        .map(|entry| entry.trim_matches(['[', ']']))
        .collect();
    if bare.contains(&"*") {
        return None;
    }
    let anything = Matcher::builder().all("http://proxy.invalid");
    Some(Arc::new(anything.no(bare.join(",")).build()))
}

/// Why entries of the comma-separated `exempt` are of no use, each that is.
pub(super) fn useless(exempt: &str) -> impl Iterator<Item = String> {
    const RIGHT: &str = "right would be a name (`internal.example`: all below it, too), an address, a \
                         net (`10.0.0.0/8`) or `*`, separated by commas";
    let entries = exempt.split(',').map(str::trim);
    let useless = entries.filter(|entry| !entry.is_empty() && !may_match(entry));
    useless.map(|entry| format!("`{entry}` can match nothing; {RIGHT}"))
}

/// Whether some host is called like this entry: without a scheme, a port or a star in a name.
fn may_match(entry: &str) -> bool {
    let entry = entry.trim_matches(['[', ']']);
    if entry == "*" || entry.parse::<IpAddr>().is_ok() {
        return true;
    }
    if let Some((address, bits)) = entry.split_once('/') {
        let most = address.parse().map(|address| match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        });
        return most.is_ok_and(|most| bits.parse::<u8>().is_ok_and(|bits| bits <= most));
    }
    let name = entry.strip_prefix('.').unwrap_or(entry);
    let is_label = |label: &str| {
        let fits = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_';
        !label.is_empty() && label.chars().all(fits)
    };
    // A last label of digits makes an address, and this is none.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.chars().all(|char| char.is_ascii_digit());
    name.split('.').all(is_label) && !is_number
}

#[cfg(test)]
mod tests {
    use crate::network::Proxies;

    /// Entries that exempt nobody are told from those that may: the first are refused in a setting, and
    /// taken from the environment.
    #[test]
    fn exemptions_that_match_nothing() {
        const P: &str = "http://p:1";
        let useful =
            "*, a, a-b_c.example, .a.example, 10.0.0.1, 10.0.0.0/8, ::1, [::1], fd00::/8,, ";
        let useless = [
            "*.example",
            "http://a",
            "a:80",
            "[::1]:80",
            "10.0.0.0/33",
            "::/129",
            "10.0.0",
            "10.",
            "a b",
            "a..b",
            ".",
            "ä.example",
        ];
        for entry in useful.split(',').map(str::trim).chain([useful]) {
            assert!(
                Proxies::new(Some(P), Some(entry), |_| None).is_ok(),
                "{entry}"
            );
        }
        for entry in useless {
            let why = Proxies::new(Some(P), Some(entry), |_| None).err();
            let why = why.unwrap_or_default();
            assert!(
                why.contains(&format!("`{entry}` can match nothing")),
                "{entry}: {why}"
            );
            let variable = |name: &str| match name {
                "https_proxy" => Some(P.to_owned()),
                "no_proxy" => Some(entry.to_owned()),
                _ => None,
            };
            assert!(Proxies::new(None, None, variable).is_ok(), "{entry}");
        }
    }
}
