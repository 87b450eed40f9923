//! Trees of libvirt's XML: reading, finding, writing.

use anyhow::{Context, Result};
use xmltree::{Element, XMLNode};

/// The root element of a document.
///
/// # Errors
/// When it is not well-formed XML.
pub fn parse(text: &str) -> Result<Element> {
    Element::parse(text.as_bytes()).context("libvirt's XML cannot be read")
}

/// The document with this root.
///
/// # Errors
/// When it holds what XML cannot.
pub fn write(root: &Element) -> Result<String> {
    let mut bytes = vec![];
    root.write(&mut bytes).context("cannot write XML")?;
    Ok(String::from_utf8(bytes)?)
}

/// The first element at this path of names below `root`.
#[must_use]
pub fn at<'e>(root: &'e Element, path: &[&str]) -> Option<&'e Element> {
    path.iter()
        .try_fold(root, |element, name| element.get_child(*name))
}

/// The same, to change it.
#[must_use]
pub fn at_mut<'e>(root: &'e mut Element, path: &[&str]) -> Option<&'e mut Element> {
    path.iter()
        .try_fold(root, |element, name| element.get_mut_child(*name))
}

/// The children of this name.
pub fn children<'e>(parent: &'e Element, name: &'e str) -> impl Iterator<Item = &'e Element> {
    let elements = parent.children.iter().filter_map(XMLNode::as_element);
    elements.filter(move |element| element.name == name)
}

/// An element's text; empty where it has none.
#[must_use]
pub fn text(element: &Element) -> String {
    element.get_text().unwrap_or_default().into_owned()
}

/// The text of the element at this path.
#[must_use]
pub fn text_at(root: &Element, path: &[&str]) -> Option<String> {
    at(root, path).map(text)
}

/// An attribute's value.
#[must_use]
pub fn attribute(element: &Element, name: &str) -> Option<String> {
    element.attributes.get(name).cloned()
}

/// An element with these attributes and children.
#[must_use]
pub fn element(name: &str, attributes: &[(&str, &str)], children: Vec<Element>) -> Element {
    let mut made = Element::new(name);
    for (key, value) in attributes {
        made.attributes
            .insert((*key).to_owned(), (*value).to_owned());
    }
    made.children = children.into_iter().map(XMLNode::Element).collect();
    made
}

/// An element that holds this text.
#[must_use]
pub fn with_text(name: &str, text: &str) -> Element {
    let mut made = Element::new(name);
    made.children = vec![XMLNode::Text(text.to_owned())];
    made
}

/// Takes every child of this name away.
pub fn remove_children(parent: &mut Element, name: &str) {
    parent
        .children
        .retain(|node| node.as_element().is_none_or(|element| element.name != name));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_the_same() {
        let text = concat!(
            "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>",
            "<name>my &lt;vm&gt; &quot;é&quot; &amp;</name><qemu:commandline><qemu:env name='X' value='a&apos;b'/>",
            "</qemu:commandline></domain>"
        );
        let root = parse(text).unwrap();
        let again = parse(&write(&root).unwrap()).unwrap();
        assert_eq!(root, again);
        assert_eq!(text_at(&again, &["name"]).unwrap(), "my <vm> \"é\" &");
        assert!(write(&root).unwrap().contains("<qemu:env"));
    }

    #[test]
    fn names_are_escaped() {
        let made = element(
            "source",
            &[("file", "/a \"b\" <c>&'d'")],
            vec![with_text("x", "1 < 2")],
        );
        let again = parse(&write(&made).unwrap()).unwrap();
        assert_eq!(attribute(&again, "file").unwrap(), "/a \"b\" <c>&'d'");
        assert_eq!(text_at(&again, &["x"]).unwrap(), "1 < 2");
    }
}
