//! `levels.txt` against the compiled contract, and what of it a client has to know when it sends a request.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// The package, as descriptors name it.
const PACKAGE: &str = ".stormtunnel.v1.";

/// Level by container and name, such as `("TunnelSpec", "keep")`.
type Levels = BTreeMap<(String, String), u32>;

/// The rows of `src/levels.rs`, as Rust: of each request, and of all that can be in one.
///
/// # Errors
/// A part of the contract is at no level, or at two, or one that is listed is not there.
pub(crate) fn rows(levels: &str, contract: &FileDescriptorSet) -> Result<String, String> {
    let levels = parse(levels)?;
    let parts = Parts::of(contract);
    let listed: BTreeSet<_> = levels.keys().cloned().collect();
    if let Some((container, name)) = parts.names().difference(&listed).next() {
        return Err(format!("{container}.{name} is at no level: add it to proto/levels.txt"));
    }
    if let Some((container, name)) = listed.difference(&parts.names()).next() {
        return Err(format!("proto/levels.txt lists {container}.{name}, which the .proto files do not have"));
    }
    let mut rows = String::from("&[\n");
    for (request, call) in &parts.requests {
        row(&mut rows, request, 0, "", levels[call], "Nothing");
    }
    for container in parts.reachable() {
        for (name, number, holds) in parts.inside(&container) {
            let level = levels[&(container.clone(), name.clone())];
            row(&mut rows, &container, number, &name, level, &holds);
        }
    }
    rows.push_str("]\n");
    Ok(rows)
}

fn row(rows: &mut String, container: &str, number: i32, name: &str, level: u32, holds: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        rows,
        "Row {{ container: {container:?}, number: {number}, name: {name:?}, level: {level}, holds: Holds::{holds} }},"
    );
}

fn parse(text: &str) -> Result<Levels, String> {
    let (mut levels, mut level) = (Levels::new(), 0);
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(number) = line.strip_prefix("level ") {
            let next = number.parse().ok().filter(|next| *next == level + 1);
            level =
                next.ok_or_else(|| format!("proto/levels.txt: \"{line}\" does not follow level {level}"))?;
            continue;
        }
        let (container, names) =
            line.split_once(':').ok_or_else(|| format!("proto/levels.txt: \"{line}\" has no colon"))?;
        for name in names.split_whitespace() {
            if levels.insert((container.to_owned(), name.to_owned()), level).is_some() {
                return Err(format!("proto/levels.txt lists {container}.{name} twice"));
            }
        }
    }
    Ok(levels)
}

/// The contract by the names of its parts, without the package.
#[derive(Default)]
struct Parts<'a> {
    messages: BTreeMap<String, &'a DescriptorProto>,
    enums: BTreeMap<String, &'a EnumDescriptorProto>,
    /// Service and name of the call, by request.
    requests: BTreeMap<String, (String, String)>,
}

impl<'a> Parts<'a> {
    fn of(contract: &'a FileDescriptorSet) -> Self {
        let mut parts = Self::default();
        let ours = contract.file.iter().filter(|file| format!(".{}.", file.package()) == PACKAGE);
        for file in ours {
            file.message_type.iter().for_each(|message| parts.add(message, ""));
            parts.enums.extend(file.enum_type.iter().map(|one| (one.name().to_owned(), one)));
            for service in &file.service {
                parts.requests.extend(service.method.iter().map(|method| {
                    let call = (service.name().to_owned(), method.name().to_owned());
                    (short(method.input_type()).to_owned(), call)
                }));
            }
        }
        parts
    }

    fn add(&mut self, message: &'a DescriptorProto, outer: &str) {
        // The entries of a map are no messages of the contract.
        if message.options.as_ref().is_some_and(|options| options.map_entry()) {
            return;
        }
        let name = format!("{outer}{}", message.name());
        let inner = format!("{name}.");
        message.nested_type.iter().for_each(|nested| self.add(nested, &inner));
        self.enums.extend(message.enum_type.iter().map(|one| (format!("{inner}{}", one.name()), one)));
        self.messages.insert(name, message);
    }

    /// All that must have a level.
    fn names(&self) -> BTreeSet<(String, String)> {
        let containers = self.messages.keys().chain(self.enums.keys());
        let inside = containers.flat_map(|container| {
            self.inside(container).into_iter().map(move |(name, ..)| (container.clone(), name))
        });
        inside.chain(self.requests.values().cloned()).collect()
    }

    /// Name, number and contents of what is in a message or an enum.
    fn inside(&self, container: &str) -> Vec<(String, i32, String)> {
        let fields = self.messages.get(container).into_iter().flat_map(|message| &message.field);
        let fields = fields.map(|field| (field.name().to_owned(), field.number(), self.holds(field)));
        let values = self.enums.get(container).into_iter().flat_map(|one| &one.value);
        let values = values.map(|value| (value.name().to_owned(), value.number(), "Nothing".to_owned()));
        fields.chain(values).collect()
    }

    fn holds(&self, field: &FieldDescriptorProto) -> String {
        let name = short(field.type_name());
        if field.r#type() == Type::Message && self.messages.contains_key(name) {
            format!("Message({name:?})")
        } else if field.r#type() == Type::Enum {
            format!("Enum({name:?})")
        } else {
            "Nothing".to_owned()
        }
    }

    /// The messages and enums that can be in a request.
    fn reachable(&self) -> BTreeSet<String> {
        let (mut seen, mut next) = (BTreeSet::new(), VecDeque::from_iter(self.requests.keys().cloned()));
        while let Some(container) = next.pop_front() {
            let fields = self.messages.get(&container).into_iter().flat_map(|message| &message.field);
            let held = fields.map(|field| short(field.type_name()).to_owned());
            let held = held.filter(|name| self.messages.contains_key(name) || self.enums.contains_key(name));
            let held: Vec<String> = held.filter(|name| !seen.contains(name)).collect();
            next.extend(held);
            seen.insert(container);
        }
        seen
    }
}

fn short(name: &str) -> &str {
    name.strip_prefix(PACKAGE).unwrap_or(name)
}
