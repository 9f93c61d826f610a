//! Lists in small pages: a server's whole list is cut up here, as no server here can be told the size of its pages from
//! outside. A page that is asked for by its name is given without asking the server again.

use crate::proxy::Harm;

pub struct Pages {
    rows: usize,
    /// The head of the answers, and the rows of each page.
    kept: Option<(String, Cut)>,
}

/// A list, cut up.
struct Cut {
    before: String,
    pages: Vec<String>,
    after: String,
}

/// How a provider writes a list: the ends of a row, what says that it is over, and what that there is more.
struct Language {
    row: [&'static str; 2],
    is_over: &'static [&'static str],
    goes_on: &'static str,
    without_token: &'static str,
}

const S3: Language = Language {
    row: ["<Contents>", "</Contents>"],
    is_over: &["<IsTruncated>false</IsTruncated>"],
    goes_on: "<IsTruncated>true</IsTruncated><NextContinuationToken>page-{}</NextContinuationToken>",
    without_token: "<IsTruncated>true</IsTruncated>",
};
const AZURE: Language = Language {
    row: ["<Blob>", "</Blob>"],
    is_over: &["<NextMarker/>", "<NextMarker />", "<NextMarker></NextMarker>"],
    goes_on: "<NextMarker>page-{}</NextMarker>",
    without_token: "<NextMarker/>",
};

/// The language of a request for a list, and the page that it asks for.
fn asked(first: &str) -> Option<(&'static Language, usize)> {
    let language = match first {
        _ if !first.starts_with("GET") => return None,
        _ if first.contains("list-type=2") => &S3,
        _ if first.contains("comp=list") => &AZURE,
        _ => return None,
    };
    let page = first.split_once("=page-").map_or("0", |(_, rest)| rest.split([' ', '&']).next().unwrap());
    Some((language, page.parse().unwrap()))
}

impl Pages {
    pub fn of(rows: usize) -> Self {
        Self { rows, kept: None }
    }

    /// The head of the answer to a request for a page that is kept.
    pub fn kept(&self, first: &str) -> Option<String> {
        asked(first).filter(|(_, page)| *page > 0)?;
        self.kept.as_ref().map(|(head, _)| head.clone())
    }

    /// The page that a request is answered with; `body` is the server's answer if it was asked.
    pub fn page(&mut self, first: &str, head: &str, body: &[u8], harm: Harm) -> Option<Vec<u8>> {
        let (language, page) = asked(first)?;
        if page == 0 {
            let cut = cut(language, std::str::from_utf8(body).unwrap(), self.rows)?;
            self.kept = Some((head.to_owned(), cut));
        }
        let (_, cut) = self.kept.as_ref()?;
        let given = if harm == Harm::SkipPage { page + 1 } else { page };
        let next = if harm == Harm::SamePage { page } else { given + 1 };
        let is_last = next >= cut.pages.len() || harm == Harm::LastPage;
        let end = match harm {
            Harm::NoToken => language.without_token.to_owned(),
            _ if is_last => language.is_over[0].to_owned(),
            _ => language.goes_on.replace("{}", &next.to_string()),
        };
        let rows = cut.pages.get(given).map_or("", String::as_str);
        let whole = format!("{}{rows}{}", cut.before, cut.after);
        let is_over = language.is_over.iter().find(|text| whole.contains(**text))?;
        Some(whole.replacen(is_over, &end, 1).into_bytes())
    }
}

fn cut(language: &Language, text: &str, rows: usize) -> Option<Cut> {
    let [open, close] = language.row;
    let (start, end) = (text.find(open)?, text.rfind(close)? + close.len());
    let all: Vec<&str> = text[start..end].split_inclusive(close).collect();
    let pages = all.chunks(rows).map(<[&str]>::concat).collect();
    Some(Cut { before: text[..start].to_owned(), pages, after: text[end..].to_owned() })
}
