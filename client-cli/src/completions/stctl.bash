_stctl() {
    # Bash takes words apart at "=" and ":" (COMP_WORDBREAKS), and the program does not: they are put together again.
    local line=${COMP_LINE:0:COMP_POINT} current=$2 joins="" word value i
    local -a words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $word && -z ${word//[=:]/} ]]; then
            ((${#words[@]})) && words[${#words[@]} - 1]+=$word || words+=("$word")
            joins=yes
            continue
        fi
        ((i == COMP_CWORD)) && word=$current
        if [[ -n $joins && ! ($i == "$COMP_CWORD" && $line == *[[:space:]]) ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        joins=""
    done
    # Of the answers, what bash counts to the word before is there already.
    local prefix=${words[${#words[@]} - 1]}
    prefix=${prefix%"$current"}
    COMPREPLY=()
    while IFS= read -r value || [[ -n $value ]]; do
        value=${value#"$prefix"}
        if [[ $value == *[^A-Za-z0-9_.,:=/@%+!~-]* && ${COMP_WORDS[COMP_CWORD]} != [\"\']* ]]; then
            printf -v value %q "$value"
        fi
        COMPREPLY+=("$value")
    done < <(VAR=bash _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) stctl -- "${words[@]}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=:/] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o bashdefault -o nosort -F _stctl stctl 2>/dev/null || complete -o bashdefault -F _stctl stctl
