// Asking the server. All paths are relative, so that the page works below a prefix too.

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Return "path?query" of what is set in `params`. */
export function address(path, params = {}) {
  const set = Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return set.length ? `${path}?${new URLSearchParams(set)}` : path;
}

/** Return the text of an answer; raises ApiError with the server's own words where there are any. */
export async function text(url, signal) {
  let answer;
  try {
    answer = await fetch(url, { signal, headers: { accept: "application/json" } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. It may have ended with its run.", 0);
  }
  const said = await answer.text();
  if (!answer.ok) throw new ApiError(words(said) ?? `The server answered ${answer.status} to ${url}.`, answer.status);
  return said;
}

function words(said) {
  try {
    const body = JSON.parse(said);
    return body.error ?? body.detail ?? null;
  } catch {
    return null;
  }
}

/** Have something done to the run; raises ApiError. The header can't be sent by a form of another site. */
export async function control(action, body = {}) {
  const answer = await fetch(`api/control/${action}`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-longshore": "1" },
    body: JSON.stringify(body),
  });
  const said = await answer.text();
  if (!answer.ok) throw new ApiError(words(said) ?? `${action} was refused (${answer.status}).`, answer.status);
}
